# make test          everything that must hold: tools, format, lints, documentation, tests
# make instructions  of that: what a request costs, in instructions, against bench/bounds.toml
# make black-box     of that: from outside: the OpenAPI document, Swagger UI, pages of other origins
#                    in a browser, HTTP, gRPC, WebSocket and TLS of other makers, and the apps of
#                    examples/
# make soak          the long forms of the tests of fleets and changes: minutes of faults under
#                    load, a million forged tokens, a thousand reloads, fifty hand-overs
# make fuzz          libFuzzer on every target of src/fuzzing, FUZZ_SECONDS (60) each; FUZZ_TARGETS
#                    says which. Their corpora run in make test
# make audit         licences, bans and sources of the dependencies, and known advisories
# make release       the binary to deploy: built twice, the second time with what the first one
#                    learned under load
# make deb           a Debian package of the release build, or of KEYWARD=file, and a look at it,
#                    which asks for root
# make bench         of that binary: what a request costs, next to nginx and HAProxy (HTTP/1.1,
#                    HTTP/2, TLS, bodies, system calls, memory); what a fleet costs; what a flood of
#                    logins costs, and what crowds of clients do to others
# make demo          keyward with a temporary store and an echo upstream

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := test
.PHONY: test tools format lint doc check instructions black-box soak fuzz audit release deb bench \
    demo

CARGO ?= cargo
# Where Debian puts servers; not every user's PATH has it.
export PATH := $(PATH):/usr/sbin

# Installs the Debian packages that are $$needed. Says with $$say what it does, and what it cannot
# do.
define install
by=
	    if [ "$$(id -u)" = 0 ]; then by=env
	    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then by="sudo -n env"
	    fi
	    if [ -z "$$by" ] || ! command -v apt-get >/dev/null; then
	        say "something is missing, and this user cannot install it. On Debian, as root:" \
	            "apt-get install $$needed"
	        exit 1
	    fi
	    say "installing $$needed"
	    $$by apt-get update -q \
	        || say "the package lists could not be refreshed; trying with those that are there"
	    # RUNLEVEL=1: Debian starts a service upon its installation, and nobody here needs it.
	    $$by DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
	        apt-get install -q -y --no-install-recommends $$needed \
	        || { say "$$needed could not be installed"; exit 1; }
endef

# One step after the other, whatever -j says: they share one build directory.
test:
	@$(MAKE) --no-print-directory tools
	$(MAKE) --no-print-directory format
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory doc
	$(MAKE) --no-print-directory check
	echo "make test: everything holds"

# SQLite, aws-lc and mimalloc are C, compiled by the build: a C compiler and its headers are all
# that they need. The tests need curl and redis-server besides: they start servers of their own,
# sentinels and Clusters among them. Those of the OpenAPI document need Python with its venv, and a
# Chromium that follows a person's clicks. Other makers' HTTP, which tests/black_box puts on both
# sides of keyward: nginx, nghttp and h2load, Node, Go, openssl, Java. The apps of examples/ are run
# besides by npm, Tomcat and PHP. Network namespaces take iproute2 and nftables. systemd's own tools
# judge the units, shellcheck the scripts.
# Instructions are counted by valgrind.
tools:
	@say() { echo "make test: $$*" >&2; }
	if ! command -v $(CARGO) >/dev/null; then
	    say "cargo is missing: install Rust (see rust-version in Cargo.toml for the oldest" \
	        "that will do) and try again"
	    exit 1
	fi
	missing=
	$(CARGO) fmt --version >/dev/null 2>&1 || missing="$$missing rustfmt"
	$(CARGO) clippy --version >/dev/null 2>&1 || missing="$$missing clippy"
	if [ -n "$$missing" ]; then
	    if ! command -v rustup >/dev/null; then
	        say "missing:$$missing. There is no rustup to add it with: install it beside" \
	            "your Rust and try again"
	        exit 1
	    fi
	    say "adding$$missing with rustup"
	    rustup component add $$missing || { say "rustup could not add$$missing"; exit 1; }
	fi
	compiles() {
	    local room outcome=0
	    room=$$(mktemp -d)
	    printf '#include <stdio.h>\nint main(void) { return 0; }\n' > "$$room/a.c"
	    "$${CC:-cc}" -o "$$room/a" "$$room/a.c" 2>/dev/null || outcome=1
	    rm -r "$$room"
	    return $$outcome
	}
	needed=
	compiles || needed="gcc libc6-dev"
	# The lines that the documents show are tried as they stand there.
	command -v curl >/dev/null || needed="$$needed curl"
	command -v redis-server >/dev/null || needed="$$needed redis-server"
	python3 -c 'import ensurepip, venv' 2>/dev/null || needed="$$needed python3 python3-venv"
	command -v chromium >/dev/null || needed="$$needed chromium"
	command -v chromedriver >/dev/null || needed="$$needed chromium-driver"
	for program in openssl valgrind git wget shellcheck; do
	    command -v $$program >/dev/null || needed="$$needed $$program"
	done
	command -v h2load >/dev/null || needed="$$needed nghttp2-client"
	command -v node >/dev/null || needed="$$needed nodejs"
	command -v npm >/dev/null || needed="$$needed npm"
	command -v javac >/dev/null || needed="$$needed default-jdk-headless"
	[ -e /usr/share/java/tomcat10-embed-core.jar ] || needed="$$needed libtomcat10-embed-java"
	command -v php >/dev/null || needed="$$needed php-cli"
	command -v go >/dev/null && [ -d /usr/share/gocode/src/golang.org/x/net/http2 ] \
	    || needed="$$needed golang-go golang-golang-x-net-dev"
	command -v nginx >/dev/null || needed="$$needed nginx"
	# It balances two instances.
	command -v haproxy >/dev/null || needed="$$needed haproxy"
	command -v ip >/dev/null || needed="$$needed iproute2"
	command -v nft >/dev/null || needed="$$needed nftables"
	command -v systemd-analyze >/dev/null || needed="$$needed systemd"
	[ -e /etc/ssl/certs/ca-certificates.crt ] || needed="$$needed ca-certificates"
	command -v promtool >/dev/null || needed="$$needed prometheus"
	if [ -n "$$needed" ]; then
	    $(install)
	    if ! compiles; then
	        say "a C compiler was installed, but still compiles nothing: is CC set to another one?"
	        exit 1
	    fi
	fi

format:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) fmt --manifest-path examples/axum/Cargo.toml --check

lint:
	$(CARGO) clippy --locked --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# The release build and its count take what the tests from outside leave of the processor: most of
# their time they wait.
check:
	$(CARGO) test --locked
	counted=$$(mktemp)
	nice -n 19 $(MAKE) --no-print-directory instructions >"$$counted" 2>&1 &
	counting=$$!
	trap 'kill $$counting 2>/dev/null || true; rm -f "$$counted"' EXIT
	$(MAKE) --no-print-directory black-box
	outcome=0
	wait $$counting || outcome=$$?
	cat "$$counted"
	exit $$outcome

# Of the release build, which takes five minutes on two cores from nothing. A profile of its own
# without LTO and with sixteen code generation units would take as long: 5.9 minutes of processor
# time, not 5.8.
instructions:
	$(CARGO) build --locked --release --bin keyward
	bench/instructions --check "$${CARGO_TARGET_DIR:-target}/release/keyward"

# From outside: schemathesis holds keyward to its OpenAPI document on both stores, a browser makes a
# token in Swagger UI and calls from pages of other origins, and clients and servers of other makers
# speak through keyward. PyPI is asked once, for the versions in requirements.txt; for the apps of
# examples/, npm and cargo, for those in their lock files.
black-box:
	$(CARGO) build --locked
	built=$${CARGO_TARGET_DIR:-target}
	room=$$built/black_box
	lists="requirements.txt cluster_tools.txt"
	if ! (cd tests/black_box && cat $$lists) | cmp -s - "$$room/installed"; then
	    rm -rf "$$room"
	    python3 -m venv "$$room/venv"
	    pip() { "$$room/venv/bin/pip" install -q --disable-pip-version-check "$$@"; }
	    if ! pip -r tests/black_box/requirements.txt \
	        || ! pip --no-deps -r tests/black_box/cluster_tools.txt; then
	        echo "make black-box: what $$lists list could not be installed" >&2
	        exit 1
	    fi
	    (cd tests/black_box && cat $$lists) > "$$room/installed"
	fi
	export PYTHONDONTWRITEBYTECODE=1
	# Debian's nginx is where only root's PATH leads.
	export PATH=$$PATH:/usr/sbin
	# A model that thinks for a minute: beside the others, as it takes nothing but time.
	"$$room/venv/bin/python" tests/black_box/sdk_calls.py "$$built/debug/keyward" &
	thinking=$$!
	trap 'kill $$thinking 2>/dev/null || true' EXIT
	for test in seeds openapi walk_through browser_calls tls_checks clients servers go_calls \
	    grpc_calls websocket_calls credential_clients failing_servers sidecar rolling_restart image \
	    systemd_unit kubernetes_manifests example_apps observability compose; do
	    "$$room/venv/bin/python" "tests/black_box/$$test.py" "$$built/debug/keyward"
	done
	wait $$thinking

# Runs of 60 s on one server, under sentinels and in a Cluster in turn, with other seeds (printed;
# KEYWARD_SEED plays them again), until 10,000 revocations were answered: six or seven minutes.
# KEYWARD_SOAK_REVOCATIONS and KEYWARD_SOAK_RUNS say otherwise. With all the rest, a million forged
# tokens and the faults in their full length, some eighteen minutes on two busy cores.
soak:
	@$(MAKE) --no-print-directory tools
	KEYWARD_LONG=1 KEYWARD_ROUNDS=1000 $(CARGO) test --locked --test it \
	    -- fleet:: change_without_loss:: --include-ignored --nocapture --test-threads 1

# The instrumentation is that of cargo-fuzz, by flags that are stable. Its sanitizers are not, and
# are left out: there is no unsafe code of ours for them to watch. What is found is kept in
# target/fuzz/found until it is a file in fuzz/corpus; corpora that have grown are kept in
# target/fuzz/corpus.
FUZZ_SECONDS ?= 60
fuzz:
	@say() { echo "make fuzz: $$*" >&2; }
	needed=
	command -v "$${CXX:-c++}" >/dev/null || needed=g++
	if [ -n "$$needed" ]; then
	    $(install)
	fi
	host=$$(rustc -vV | sed -n 's/^host: //p')
	room=$$(realpath -m "$${CARGO_TARGET_DIR:-target}")/fuzz
	coverage="-Cpasses=sancov-module"
	for setting in level=4 inline-8bit-counters pc-table trace-compares; do
	    coverage="$$coverage -Cllvm-args=-sanitizer-coverage-$$setting"
	done
	# The same versions as everywhere, and libFuzzer.
	cp Cargo.lock fuzz/Cargo.lock
	RUSTFLAGS="$${RUSTFLAGS:-} $$coverage" $(CARGO) build --manifest-path fuzz/Cargo.toml \
	    --release --target "$$host" --target-dir "$$room"
	failed=
	for target in $${FUZZ_TARGETS:-$$(ls fuzz/corpus)}; do
	    say "$$target, $(FUZZ_SECONDS) s"
	    mkdir -p "$$room/corpus/$$target" "$$room/found/$$target"
	    KEYWARD_FUZZ_TARGET=$$target "$$room/$$host/release/keyward-fuzz" \
	        -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -dict=fuzz/words.dict \
	        -artifact_prefix="$$room/found/$$target/" \
	        "$$room/corpus/$$target" "fuzz/corpus/$$target" \
	        || failed="$$failed $$target"
	done
	if [ -n "$$failed" ]; then
	    say "broken:$$failed. The inputs are in $$room/found; each becomes a file in fuzz/corpus"
	    exit 1
	fi
	say "nothing found"

audit:
	@say() { echo "make audit: $$*" >&2; }
	if ! $(CARGO) deny --version >/dev/null 2>&1; then
	    say "installing cargo-deny"
	    $(CARGO) install cargo-deny --locked || { say "cargo-deny could not be installed"; exit 1; }
	fi
	$(CARGO) deny --locked check licenses bans sources
	if $(CARGO) deny --locked fetch db; then
	    $(CARGO) deny --locked check --disable-fetch advisories
	    say "licences, bans, sources and advisories hold"
	else
	    say "the advisory database cannot be reached from here: ADVISORIES WERE NOT CHECKED"
	    say "licences, bans and sources hold"
	fi

# Profile-guided optimisation: an instrumented keyward goes through bench/train, and keyward is
# built again with what was counted. llvm-profdata must be of rustc's LLVM. The two builds differ in
# that flag alone: all else goes into the names under which the counts are found again. What has
# been learned is used again as long as the instrumented binary stays the same.
release:
	@say() { echo "make release: $$*" >&2; }
	host=$$(rustc -vV | sed -n 's/^host: //p')
	llvm=$$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
	profdata=$$(rustc --print sysroot)/lib/rustlib/$$host/bin/llvm-profdata
	needed=
	[ -x "$$profdata" ] || profdata=llvm-profdata-$$llvm
	command -v "$$profdata" >/dev/null || needed="llvm-$$llvm"
	for program in nginx wrk openssl; do
	    command -v $$program >/dev/null || needed="$$needed $$program"
	done
	command -v h2load >/dev/null || needed="$$needed nghttp2-client"
	if [ -n "$$needed" ]; then
	    $(install)
	fi
	room=$$(realpath -m "$${CARGO_TARGET_DIR:-target}")/trained
	build() {
	    RUSTFLAGS="$${RUSTFLAGS:-} $$1" $(CARGO) build --locked --release --bin keyward \
	        --target "$$host" --target-dir "$$2"
	}
	build "-Cprofile-generate=$$room/counts" "$$room/instrumented"
	instrumented=$$room/instrumented/$$host/release/keyward
	if ! sha256sum --status -c "$$room/learned-from" 2>/dev/null; then
	    rm -rf "$$room"/counts "$$room"/*.profdata
	    bench/train "$$instrumented"
	    "$$profdata" merge -o "$$room/learned" "$$room"/counts/*.profraw
	    # Under a name of its own, so that cargo sees that it is another.
	    mv "$$room/learned" "$$room/$$(sha256sum < "$$room/learned" | cut -c1-16).profdata"
	    sha256sum "$$instrumented" > "$$room/learned-from"
	fi
	build "-Cprofile-use=$$(echo "$$room"/*.profdata)" "$$room"
	cp "$$room/$$host/release/keyward" "$$room/keyward"
	say "$$room/keyward is the binary to deploy"

# Without what only a debugger reads; names of functions stay. cargo-deb takes two minutes to build,
# once, so this is no part of make test.
CARGO_DEB := 3.8.0
deb:
	@say() { echo "make deb: $$*" >&2; }
	built=$$(realpath -m "$${CARGO_TARGET_DIR:-target}")
	room=$$built/deb
	if [ "$$("$$room/bin/cargo-deb" --version 2>/dev/null)" != "cargo-deb $(CARGO_DEB)" ]; then
	    say "installing cargo-deb $(CARGO_DEB)"
	    $(CARGO) install cargo-deb --version $(CARGO_DEB) --locked --force --root "$$room" \
	        --target-dir "$$room/target"
	fi
	keyward=$(KEYWARD)
	if [ -z "$$keyward" ]; then
	    $(CARGO) build --locked --release --bin keyward
	    keyward=$$built/release/keyward
	fi
	mkdir -p "$$room/release"
	strip --strip-debug -o "$$room/release/keyward" "$$keyward"
	rm -f "$$room"/*.deb
	CARGO_TARGET_DIR=$$room "$$room/bin/cargo-deb" deb --no-build --no-strip -o "$$room/"
	as_root=$$([ "$$(id -u)" = 0 ] || echo sudo)
	$$as_root python3 tests/black_box/debian_package.py "$$room"/*.deb
	say "$$(echo "$$room"/*.deb) is the package"

bench:
	@say() { echo "make bench: $$*" >&2; }
	needed=
	for program in strace haproxy redis-server; do
	    command -v $$program >/dev/null || needed="$$needed $$program"
	done
	command -v h2load >/dev/null || needed="$$needed nghttp2-client"
	[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] || needed="$$needed libnginx-mod-http-lua"
	[ -e /usr/share/lua/5.1/nginx/redis.lua ] || needed="$$needed lua-nginx-redis"
	if [ -n "$$needed" ]; then
	    $(install)
	fi
	$(MAKE) --no-print-directory release
	keyward=$$(realpath -m "$${CARGO_TARGET_DIR:-target}")/trained/keyward
	bench/run --keyward "$$keyward"
	bench/fleet --keyward "$$keyward"
	bench/logins --keyward "$$keyward"
	bench/crowds --keyward "$$keyward"
	bench/limits --keyward "$$keyward"
	bench/sizing --keyward "$$keyward"

demo:
	$(CARGO) run --locked --release -- demo
