# What one does every day. `just check` only reads; `just fix` rewrites.

# Everything that must hold before a change lands.
check:
    bash .ci/run

# The tests, as README says.
test:
    cargo test --workspace

# Formatting, and what clippy can mend.
fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

# The main job: a sweep on real data.
sweep *ARGS:
    cargo run --release -- sweep examples/bikeshare.yaml {{ARGS}}

# The same sweep, on processes.
sweep-processes:
    cargo run --release -- sweep examples/bikeshare.yaml --cluster processes:2

# A scheduler and two workers; Ctrl-C ends them.
cluster:
    cargo build --release
    target/release/phalanx scheduler & \
    sleep 1; \
    target/release/phalanx worker tcp://127.0.0.1:8786 & \
    target/release/phalanx worker tcp://127.0.0.1:8786 & \
    wait

# What a task costs; give a Python with dask.distributed to see it beside: `just bench --peers python3`.
bench *ARGS:
    cargo run --release -- bench runtime {{ARGS}}

# The documentation, as docs.rs will show it.
doc:
    cargo doc --workspace --no-deps --open
