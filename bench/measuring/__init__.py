"""What the commands of this directory share.

`process` starts and times processes, `setting` holds one run's directory, cores and ports,
`servers` has the configurations of the upstream and the proxies, `load` runs wrk and h2load,
`cases` says what is compared and what the targets are, `rounds` takes the timed measurements,
`counts` counts system calls and instructions, `memory` measures idle connections, `report` prints.
"""
