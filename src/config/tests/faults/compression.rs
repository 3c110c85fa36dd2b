//! What a route compresses.

use super::*;
use crate::gateway::Coding;

#[test]
fn compression_names_codings_sizes_and_media_types() {
    expect("compression = {}\n", &[]);
    expect("compression = { algorithms = ['gzip'], min_size = '0B', types = ['*/*'] }\n", &[]);
    expect(
        "compression = { algorithms = ['brotli', 'gzip', 'gzip'], min_size = 5, types = ['text'] \
         }\n",
        &[
            "1:31: each item of \"algorithms\" must be \"zstd\", \"br\" or \"gzip\", found \
             \"brotli\"",
            "1:49: \"algorithms\" lists \"gzip\" twice",
            "1:69: \"min_size\" must be a size from \"0B\" to \"1GiB\", found the integer 5",
            "1:81: each item of \"types\" must be a media type as in \"text/html\", \"text/*\" or \
             \"application/*+json\", found \"text\"",
        ],
    );
    expect(
        "compression.algorithms = []\n",
        &["1:26: \"algorithms\" must not be empty: list at least one item, each \"zstd\", \
           \"br\" or \"gzip\""],
    );
    let found = faults(&format!("{SMALL}compression = true\n"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("\"compression\" must be a table"), "{found:?}");
}

#[test]
fn a_route_compresses_only_if_it_says_so() {
    let compression = |more: &str| {
        let text = format!("{SMALL}{more}");
        let config = crate::config::parse(&text, "k.toml", &|_| None).unwrap();
        config.routes.into_iter().next().unwrap().compression
    };
    assert_eq!(compression(""), None);
    let usual = compression("compression = {}\n").unwrap();
    assert_eq!(usual.codings, [Coding::Zstd, Coding::Brotli, Coding::Gzip]);
    assert_eq!((usual.min_size, usual.types.len()), (1024, 12));
    let own = compression("compression.types = ['text/html']\n").unwrap();
    assert_eq!((own.codings.len(), own.types.len()), (3, 1));
}
