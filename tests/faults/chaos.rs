//! Blows at random. With `cargo xtask test --long`: ten seeds of a minute.

use std::process::Stdio;

use tokio::process::Command;

#[tokio::test]
async fn whatever_happens_nothing_is_lost_or_done_twice() {
    let long = std::env::var_os("SYNCLINE_LONG_TESTS").is_some();
    let (seeds, seconds) = if long { (1..=10, "60") } else { (1..=1, "10") };
    for seed in seeds {
        let output = Command::new(env!("CARGO_BIN_EXE_syncline-chaos"))
            .args(["--seconds", seconds, "--seed", &seed.to_string()])
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{complained}");
        assert!(said.contains("lost 0, applied twice 0, over quota 0"), "{said}");
    }
}
