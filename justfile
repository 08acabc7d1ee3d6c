# The one list of checks; CI calls it. `just` shows the recipes, `just ci` runs them all.

# Where tools and servers that only tests need are put.
tools := justfile_directory() / "target/tools"
kafka_directory := justfile_directory() / "target/kafka"
kafka_port := "29092"
erp_directory := justfile_directory() / "target/erp"
erp_port := "18070"
pretix_directory := justfile_directory() / "target/pretix"
pretix_port := "18345"
postgres_directory := justfile_directory() / "target/postgres"
postgres_port := "25432"
postgres_url := "postgres://postgres@127.0.0.1:" + postgres_port + "/postgres"

default:
    @just --list

# Every check, the cheap ones first. (`readme` holds what needs no server: the embedded broker's conformance, the
# sources but one.)
ci: format readme lint deny registry-client kafka-connector foreign-tools foreign-clients (conformance "Apache") journey poll (sources "postgres::") tryton-sink file-sink s3 postgres-sink cdc probe faults-gate

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
conformance *filter: kafka
    PASSERELLE_TEST_KAFKA=127.0.0.1:{{ kafka_port }} PASSERELLE_TEST_KAFKA_DIRECTORY={{ kafka_directory }} \
        cargo test --workspace --test conformance -- {{ filter }}

# Kafka's own tools and kcat on the embedded broker.
foreign-tools:
    PASSERELLE_TEST_KAFKA_TOOLS={{ justfile_directory() }}/tests/kafka/kafka cargo test --workspace --test foreign_tools -- --nocapture

# Clients of other languages, call by call on the embedded broker and on Apache Kafka: tests/foreign_clients/FINDINGS.md.
foreign-clients: kafka
    PASSERELLE_TEST_CLIENTS={{ tools }}/clients PASSERELLE_TEST_KAFKA=127.0.0.1:{{ kafka_port }} \
        cargo test --workspace --test foreign_clients

# An independent registry client on the embedded registry.
registry-client:
    PASSERELLE_PYTHON={{ tools }}/python/bin/python cargo test --workspace --test registry_clients -- --nocapture

# Topics of another cluster, written by Confluent's Protobuf serializer too.
kafka-connector:
    PASSERELLE_PYTHON={{ tools }}/python/bin/python cargo test --workspace --test kafka_connector

# Signed webhooks of a payment service, on a real Kafka, to a real ERP, mail server, PostgreSQL, a sheet, Parquet and simulated books.
journey: kafka erp postgres
    PASSERELLE_TEST_KAFKA=127.0.0.1:{{ kafka_port }} PASSERELLE_TEST_ERP={{ erp_directory }} PASSERELLE_TEST_POSTGRES={{ postgres_url }} PASSERELLE_PYTHON={{ tools }}/python/bin/python \
        cargo test --workspace --test journey -- --nocapture

# Applications that are polled: simulated ones, a real ERP, and beside its calls a real ticket shop.
poll: erp pretix
    PASSERELLE_TEST_ERP={{ erp_directory }} PASSERELLE_TEST_PRETIX={{ pretix_directory }} cargo test --workspace --test poll

# What every source promises, held for each of them, PostgreSQL included: less than two minutes on 2 cores.
sources *filter: postgres
    PASSERELLE_TEST_POSTGRES={{ postgres_url }} cargo test --workspace --test sources -- {{ filter }}

# Sales, invoices, payments, parties and products of a real ERP, by both of its interfaces.
tryton-sink: erp
    PASSERELLE_TRYTON_URL=http://127.0.0.1:{{ erp_port }}/erp PASSERELLE_TRYTON_KEY=$(cat {{ erp_directory }}/key) \
        cargo test --workspace --lib tryton

# Events into tables of a real PostgreSQL, over kills of the process, the server and the way between them.
postgres-sink: postgres
    PASSERELLE_TEST_POSTGRES={{ postgres_url }} cargo test --workspace --test postgres_sink

# What is learnt of a real ERP, a real PostgreSQL and simulated applications.
probe: erp postgres
    PASSERELLE_TEST_ERP={{ erp_directory }} PASSERELLE_TEST_POSTGRES={{ postgres_url }} cargo test --workspace --test probe

# Changes of a real PostgreSQL: its types, its log, its faults; then its own end, alone.
cdc: postgres
    PASSERELLE_TEST_POSTGRES={{ postgres_url }} PASSERELLE_TEST_POSTGRES_DIRECTORY={{ postgres_directory }} \
        cargo test --workspace --test cdc
    PASSERELLE_TEST_POSTGRES={{ postgres_url }} PASSERELLE_TEST_POSTGRES_DIRECTORY={{ postgres_directory }} \
        cargo test --workspace --test cdc -- --ignored

# Files that the sink writes, read by pyarrow and Python's csv.
file-sink:
    PASSERELLE_PYTHON={{ tools }}/python/bin/python cargo test --workspace --test file_sink

# Files in a bucket of moto's server, which checks signatures, read by boto3 and pyarrow.
s3:
    PASSERELLE_PYTHON={{ tools }}/python/bin/python cargo test --workspace --test s3

# A file of 500 MB is read in bounded memory.
large-file:
    PASSERELLE_TEST_FILE_MEGABYTES=500 cargo test --workspace --test file -- large

# Breaks the code in small ways, one after another: each must fail the test that its patch names.
mutants *patches:
    tests/mutants/run target/mutants {{ patches }}

# What it survives: every row, so many kills each on the embedded broker and on Apache Kafka. Writes
# tests/faults.json and the README's table.
faults kills="50" kafka_kills=kills: kafka postgres
    PASSERELLE_FAULT_KILLS={{ kills }} PASSERELLE_FAULT_KILLS_KAFKA={{ kafka_kills }} PASSERELLE_FAULT_TABLE=1 PASSERELLE_TEST_POSTGRES={{ postgres_url }} \
        PASSERELLE_TEST_KAFKA=127.0.0.1:{{ kafka_port }} PASSERELLE_TEST_KAFKA_DIRECTORY={{ kafka_directory }} \
        cargo test --workspace --test faults

# Random faults for so many minutes; a table of memory, descriptors and what was lost at the end.
soak minutes:
    PASSERELLE_SOAK_MINUTES={{ minutes }} cargo test --workspace --test faults -- t29

# The same as `faults` with fewer kills on Apache Kafka, and nothing written: at most 15 minutes on 2 cores.
# (On the embedded broker `readme` has inflicted those that are not killed at random moments.)
# (Three rows at once: more of them may keep two cores from Kafka's members for a whole session, which repeats events.)
faults-gate: kafka postgres
    PASSERELLE_FAULT_KILLS=50 PASSERELLE_FAULT_KILLS_KAFKA=5 PASSERELLE_FAULT_ROUNDS=2 PASSERELLE_TEST_POSTGRES={{ postgres_url }} \
        PASSERELLE_TEST_KAFKA=127.0.0.1:{{ kafka_port }} PASSERELLE_TEST_KAFKA_DIRECTORY={{ kafka_directory }} \
        cargo test --workspace --test faults -- --test-threads 3 \
            --skip "embedded: t04" --skip "embedded: t05" --skip "embedded: t06" --skip "embedded: t08" \
            --skip "embedded: t09" --skip "embedded: t1" --skip "embedded: t20" --skip "embedded: t21" \
            --skip "embedded: t22" --skip "embedded: t24" --skip "embedded: t25" --skip "embedded: t27" \
            --skip "embedded: t28" --skip "embedded: t30" --skip "embedded: t31" --skip "embedded: t33"

# A million events sent again beside live traffic, by a release binary: the rate, and what live orders wait.
replay:
    cargo build --workspace --release
    PASSERELLE_TEST_BINARY={{ justfile_directory() }}/target/release/passerelle \
        cargo test --workspace --test replay -- --ignored --nocapture

# Three instances on an Apache Kafka of three nodes, by a release binary: how the work spreads, and what waits while one joins or leaves.
scale:
    cargo build --workspace --release
    PASSERELLE_TEST_BINARY={{ justfile_directory() }}/target/release/passerelle \
        cargo test --workspace --test scale -- --ignored --nocapture

# The codec, a map and the dispatcher alone, without Kafka; words choose among them, such as `map`.
pieces *filter:
    cargo bench --manifest-path tests/bench/pieces/Cargo.toml --target-dir target -- {{ filter }}

# Passerelle beside its rivals and its limits, each row several times; writes tests/bench/RESULTS.md. `--quick` for a look.
bench *rows:
    tests/bench/bench {{ rows }}

# A real Apache Kafka on {{ kafka_port }}, if it does not run yet.
kafka:
    @tests/kafka/kafka running {{ kafka_directory }} || tests/kafka/kafka start {{ kafka_directory }} {{ kafka_port }}

# A real Tryton on {{ erp_port }}, if it does not run yet.
erp:
    @[ -e {{ erp_directory }}/key ] || tests/erp/erp create {{ erp_directory }} {{ erp_port }}
    @tests/erp/erp running {{ erp_directory }} || tests/erp/erp start {{ erp_directory }}

# A real pretix, a ticket shop, on {{ pretix_port }}, if it does not run yet; its database is in that PostgreSQL.
pretix: postgres
    @tests/pretix/pretix create {{ pretix_directory }} {{ pretix_port }} {{ postgres_port }}
    @tests/pretix/pretix running {{ pretix_directory }} || tests/pretix/pretix start {{ pretix_directory }}

# A real PostgreSQL on {{ postgres_port }}, if it does not run yet.
postgres:
    @tests/postgres/postgres running {{ postgres_directory }} || tests/postgres/postgres start {{ postgres_directory }} {{ postgres_port }}

# Ends what `kafka`, `erp`, `pretix` and `postgres` started.
stop:
    -tests/pretix/pretix stop {{ pretix_directory }}
    -tests/postgres/postgres stop {{ postgres_directory }}
    -tests/kafka/kafka stop {{ kafka_directory }}
    -tests/erp/erp stop {{ erp_directory }}
