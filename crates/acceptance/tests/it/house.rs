//! What the house promises beyond the specifications, a file per subject.

mod admin_api;
mod api;
mod audit;
mod audit_chain;
mod consent;
mod errors;
mod figures;
mod hanging_up;
mod instances;
mod keys;
mod kills;
mod legacy;
mod links;
mod manager;
mod memory;
mod names;
mod new_passwords;
mod pages;
mod profile;
mod reference_tokens;
mod requests;
mod sessions;
mod sign_in;
mod throttle;
mod two_step;
mod why;
