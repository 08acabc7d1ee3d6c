# The one list of checks; CI calls it. `just` shows the recipes, `just ci` runs them all.

# Where tools and servers that only tests need are put.
tools := justfile_directory() / "target/tools"
kafka_directory := justfile_directory() / "target/kafka"
kafka_port := "29092"
erp_directory := justfile_directory() / "target/erp"
erp_port := "18070"

default:
    @just --list

# Every check, the cheap ones first.
ci: format readme lint deny registry-client foreign-tools conformance journey

# Formatting, as rustfmt.toml says.
format:
    cargo fmt --all --check

# (Commands name the whole workspace: with `-p` cargo resolves other features, and builds everything anew.)

# Clippy with the limits of clippy.toml, on everything.
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Licences, sources and the crates that are refused (deny.toml).
deny:
    {{ tools }}/bin/cargo-deny check licenses bans sources

# The README's second command.
test:
    cargo test --workspace

# The README's two commands, in a clean clone with an empty target directory and a bare environment.
readme:
    rm -rf target/readme
    tests/bare target/readme

# The conformance suite on a real Apache Kafka.
conformance: kafka
    PASSERELLE_TEST_KAFKA=127.0.0.1:{{ kafka_port }} PASSERELLE_TEST_KAFKA_DIRECTORY={{ kafka_directory }} \
        cargo test --workspace --test conformance

# Kafka's own tools and kcat on the embedded broker.
foreign-tools:
    PASSERELLE_TEST_KAFKA_TOOLS={{ justfile_directory() }}/tests/kafka/kafka cargo test --workspace --test foreign_tools -- --nocapture

# An independent registry client on the embedded registry.
registry-client:
    PASSERELLE_PYTHON={{ tools }}/python/bin/python cargo test --workspace --test registry_clients -- --nocapture

# Signed webhooks of a real payment service, on a real Kafka, to a real ERP.
journey: kafka erp
    PASSERELLE_TEST_KAFKA=127.0.0.1:{{ kafka_port }} PASSERELLE_TEST_ERP={{ erp_directory }} PASSERELLE_PYTHON={{ tools }}/python/bin/python \
        cargo test --workspace --test journey -- --nocapture

# A real Apache Kafka on {{ kafka_port }}, if it does not run yet.
kafka:
    @tests/kafka/kafka running {{ kafka_directory }} || tests/kafka/kafka start {{ kafka_directory }} {{ kafka_port }}

# A real Tryton on {{ erp_port }}, if it does not run yet.
erp:
    @[ -e {{ erp_directory }}/key ] || tests/erp/erp create {{ erp_directory }} {{ erp_port }}
    @tests/erp/erp running {{ erp_directory }} || tests/erp/erp start {{ erp_directory }}

# Ends what `kafka` and `erp` started.
stop:
    -tests/kafka/kafka stop {{ kafka_directory }}
    -tests/erp/erp stop {{ erp_directory }}
