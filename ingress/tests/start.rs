//! What a person sees who starts it with a wrong configuration.

use std::process::Command;

#[test]
fn a_wrong_setting_is_named_with_its_remedy_and_nothing_starts() {
    let output = Command::new(env!("CARGO_BIN_EXE_syncline-ingress"))
        .env_clear()
        .env("SYNCLINE__WORKER__CONCURRENCY", "0")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("worker.concurrency") && said.contains("1 to 1024"), "{said}");
    assert!(said.contains("redis.url"), "every problem is told at once: {said}");
}
