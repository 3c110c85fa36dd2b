"""deploy/kubernetes/make-secrets: what it makes and leaves, also without keyward at hand."""

import json
import re
import subprocess

from cluster_tools import DEPLOY, against_schemas, assert_none

REPOSITORY = DEPLOY.parents[1]
# What the script asks for, besides what makes keys.
COREUTILS = ["sh", "cat", "od", "tr", "cut", "mkdir", "mv", "rm", "id", "sha256sum"]

# It prints what it would create, and finds what is in the folder `there`.
KUBECTL = """#!/bin/sh
for last; do :; done
case " $* " in
    *" get secret "*) exec test -e "{room}/secrets/there/$last" ;;
esac
[ ! -e "{room}/secrets/there/refused" ] || exit 1
exec {room}/kubectl "$@" --dry-run=client -o json
"""

# It runs what an image of keyward would: with the folder of -v in the place of that in the image.
DOCKER = r"""#!/bin/sh
echo "$@" >> {room}/secrets/docker.asked
[ "$1 $2" = "run --rm" ] || exit 9
while [ $# -gt 0 ]; do
    case $1 in
        -v) folder=${{2%:*}} inside=${{2##*:}}; shift ;;
        --user) [ "$2" = "$(id -u):$(id -g)" ] || exit 8; shift ;;
        --entrypoint) [ "$2" = keyward ] || exit 7; shift 2; break ;;
    esac
    shift
done
[ "$1" = registry.example.com/keyward:0.1.0 ] || exit 6
shift
for word; do
    shift
    case $word in "$inside"/*) word=$folder/${{word#"$inside"/}} ;; esac
    set -- "$@" "$word"
done
exec {program} "$@"
"""


class SecretChecks:
    def prepare_secrets(self):
        """Where scripts find programs: keyward, and a kubectl that prints what it would create."""
        programs = self.room / "secrets/bin"
        programs.mkdir(parents=True)
        (programs / "keyward").symlink_to(self.program)
        (programs / "kubectl").write_text(KUBECTL.format(room=self.room))
        (programs / "kubectl").chmod(0o755)
        (self.room / "secrets/there").mkdir()

    def make_secrets(self, name="made", path=None, **environment):
        room = self.room / "secrets"
        path = path or f"{room}/bin:/usr/bin:/bin"
        return subprocess.run(
            [DEPLOY / "make-secrets", "shop", name], cwd=room, capture_output=True, text=True,
            env={**self.tools.environment, "PATH": str(path), **environment},
        )  # fmt: skip

    def secrets(self):
        """The Secrets that make-secrets would have made: kubectl prints them."""
        made = self.make_secrets()
        assert made.returncode == 0, made.stderr
        decoder, text, found = json.JSONDecoder(), made.stdout.lstrip(), []
        while text:
            one, end = decoder.raw_decode(text)
            found.append(one)
            text = text[end:].lstrip()
        assert [one["metadata"]["namespace"] for one in found] == ["shop", "shop"]
        return found

    def secrets_are_made_once(self):
        """make-secrets makes what keyward and Redis need, and the same another time"""
        first, second = self.secrets(), self.secrets()
        assert first == second
        assert_none(against_schemas(first), "Secrets")
        keys, redis = first
        assert sorted(redis["data"]) == ["password", "users.acl"], redis["data"].keys()
        assert {"store.key", "pepper.key", "mac-1.key"} < keys["data"].keys(), keys["data"].keys()
        for path in (self.room / "secrets/made").rglob("*"):
            assert path.stat().st_mode & 0o077 == 0, path

    def missing_secret_is_made(self):
        """make-secrets leaves a Secret that is there, says so, and makes the one that is missing"""
        room, names = self.room / "secrets", ["keyward-keys", "keyward-redis"]
        for present in (names[:1], names[1:], names):
            folder = f"left-{len(present)}-{present[0]}"
            for name in present:
                (room / "there" / name).touch()
            try:
                made = self.make_secrets(folder)
            finally:
                for name in present:
                    (room / "there" / name).unlink()
            assert made.returncode == 0, made.stderr
            for name in names:
                left = f"{name} is there already in shop" in made.stderr
                created = f'"name": "{name}"' in made.stdout
                kept = (room / folder / name.removeprefix("keyward-")).exists()
                assert (left, created, kept) == ((name in present,) + (name not in present,) * 2), (
                    name, present, made.stdout, made.stderr
                )  # fmt: skip
        # What cannot be made is no success, whatever it was.
        (room / "there/refused").touch()
        try:
            assert self.make_secrets().returncode != 0
        finally:
            (room / "there/refused").unlink()

    def broken_off_keys_are_made(self):
        """make-secrets takes no folder without store.key for keys that are complete"""
        folder = self.room / "secrets/empty"
        (folder / "keys").mkdir(parents=True)
        made = self.make_secrets("empty")
        assert made.returncode == 0 and "store.key" in made.stdout, made.stdout + made.stderr
        # What is there besides is a person's: keyward says so, and nothing is made of it.
        half = self.room / "secrets/half"
        (half / "keys").mkdir(parents=True)
        (half / "keys/mac-1.key").write_text("0")
        made = self.make_secrets("half")
        assert made.returncode != 0 and "mac-1.key" not in made.stdout, made.stdout + made.stderr

    def keys_without_keyward(self):
        """Where keyward is not on the path, make-secrets makes the keys by docker with IMAGE"""
        room = self.room / "secrets"
        path = room / "others"
        path.mkdir()
        for name in COREUTILS:
            (path / name).symlink_to(f"/usr/bin/{name}")
        (path / "kubectl").symlink_to(room / "bin/kubectl")
        (path / "docker").write_text(DOCKER.format(room=self.room, program=self.program))
        (path / "docker").chmod(0o755)
        refused = self.make_secrets("by-docker", path)
        assert refused.returncode != 0 and "IMAGE" in refused.stderr, refused.stderr
        image = re.search(r"IMAGE=(\S+)", self.page)[1]
        # macOS has another program for digests.
        (path / "sha256sum").unlink()
        (path / "shasum").write_text('#!/bin/sh\n[ "$*" = "-a 256" ] && exec /usr/bin/sha256sum\n')
        (path / "shasum").chmod(0o755)
        made = self.make_secrets("by-docker", path, IMAGE=image, ALGORITHM="EdDSA")
        assert made.returncode == 0, made.stderr
        assert "jwt-eddsa" in made.stdout.lower() and "store.key" in made.stdout, made.stdout
        acl = (room / "by-docker/redis/users.acl").read_text()
        assert re.search(r"user keyward on #[0-9a-f]{64} ", acl), acl
        again = self.make_secrets("by-docker", path, IMAGE=image)
        assert again.stdout == made.stdout, again.stderr
        assert len((room / "docker.asked").read_text().splitlines()) == 1

    def git_leaves_secrets_out(self):
        """git sees nothing of what make-secrets has made, whatever its folder is called"""
        room = self.room / "clone"
        room.mkdir()

        def git(*arguments):
            line = ["git", "-c", "core.excludesFile=/dev/null", "-C", room, *arguments]
            return subprocess.run(line, capture_output=True, text=True, check=True).stdout

        git("init", "-q")
        for name in ("keyward-secrets", "keys-of-shop"):
            assert self.make_secrets(room / name).returncode == 0
            assert (room / name / "keys/store.key").exists()
        assert git("status", "--porcelain", "--untracked-files=all") == ""
        # Those of the page are left out by the repository itself, also if a person empties them.
        (room / ".gitignore").write_text((REPOSITORY / ".gitignore").read_text())
        named = re.findall(r"make-secrets \S+ ([-a-z]+)$", self.page, re.M)
        assert named, "the page names no folder"
        for name in ("keyward-secrets", *named):
            (room / name).mkdir(exist_ok=True)
            (room / name / ".gitignore").write_text("")
            assert git("check-ignore", f"{name}/keys/store.key"), name
