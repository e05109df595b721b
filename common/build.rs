//! A new migration is a new build: `sqlx::migrate!` embeds the folder.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
