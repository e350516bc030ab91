//! Makes cargo notice a migration that is new: the macro that embeds them only tracks those it has seen.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
