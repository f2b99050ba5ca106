# The project's errands. `just` lists them.

default:
    @just --list --unsorted

# Install what is missing besides Rust, or name it.
setup:
    regtest/setup --test

# The first deal as a story, on the embedded node.
demo *arguments:
    regtest/demo {{ arguments }}

# A regtest of your own: Bitcoin Core and electrs, started.
up *arguments:
    regtest/up {{ arguments }}

# ... and stopped; `just down --wipe` removes its chain.
down *arguments:
    regtest/down {{ arguments }}

# Find Bitcoin Core and electrs or build them once, and show where they are.
nodes:
    regtest/nodes

# Every test and check; `just test --ord` lets ord judge too.
test *arguments:
    regtest/test {{ arguments }}

# What a build machine runs: the same, built outside the checkout.
ci:
    .ci/run

# Licences, sources and versions of what we depend on.
licences:
    regtest/licences

# Known faults of what we depend on too: fetches the database of RustSec from github.com.
advisories:
    regtest/licences --advisories

# Format the code.
format:
    regtest/format

# Write docs/rules.md anew from the rules in the code.
rules:
    cargo run --locked --quiet --all-features --bin hashmix -- rules --markdown > docs/rules.md.new
    mv docs/rules.md.new docs/rules.md

# Write docs/policy.md and the figures of docs/reliability.md anew, counted by the tests.
reliability:
    HASHMIX_WRITE_DOCS=1 cargo test --locked --quiet --all-features --test mutations
    HASHMIX_WRITE_DOCS=1 cargo test --locked --quiet --all-features --test policy fresh

# The figures, as ratios of one run.
figures:
    cargo bench --locked

# Measure rulings on a year of certificates, and write the figures into docs/reliability.md.
rulings:
    HASHMIX_WRITE_DOCS=1 cargo bench --locked --bench rulings

# A thousand machines on loopback against the gateway for a minute.
soak *seconds="60":
    cargo bench --locked --features gateway --bench gateway -- {{ seconds }}

# Play every known trick with work, at length, and print what it yields beside what is claimed.
simulate:
    cargo bench --locked --bench simulation
