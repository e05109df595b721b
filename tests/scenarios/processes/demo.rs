//! The demo, as a newcomer runs it.

use std::process::Stdio;

use tokio::process::Command;

#[tokio::test]
async fn the_demo_ends_with_a_true_mirror_and_no_quota_exceeded() {
    let output = Command::new(env!("CARGO_BIN_EXE_syncline-demo"))
        .args(["--seconds", "10", "--seed", "5"])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("the mirror equals the truth: 0 differences"), "{said}");
    for secret in ["pk_simulated", "simulated-token", "simulated-webhook-secret"] {
        assert!(!said.contains(secret) && !complained.contains(secret), "{secret} was printed");
    }
}
