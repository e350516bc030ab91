//! Faults from PostgreSQL errors.

use std::error::Error as StdError;

use tokio_postgres::Error;

use crate::fault::{Fault, Trouble};

/// The server's message, without its `DETAIL`, which quotes rows.
#[derive(Debug, thiserror::Error)]
#[error("{message} (SQLSTATE {code}{constraint})")]
struct ServerError {
    code: String,
    message: String,
    constraint: String,
}

pub(crate) fn fault(error: Error) -> Fault {
    let Some(said) = error.as_db_error() else {
        let lost = error.is_closed() || error.source().is_some_and(<dyn StdError>::is::<std::io::Error>);
        return Fault::because(if lost { Trouble::Gone } else { Trouble::Defect }, error);
    };
    let code = said.code().code();
    // Class 22, data exceptions: the message quotes the value.
    let quotes = code.starts_with("22");
    let cause = ServerError {
        code: code.to_owned(),
        message: if quotes { "unfit data".to_owned() } else { said.message().to_owned() },
        constraint: said.constraint().map(|name| format!(", {name}")).unwrap_or_default(),
    };
    Fault::because(trouble(code), cause)
}

/// By SQLSTATE (PostgreSQL, appendix A).
fn trouble(code: &str) -> Trouble {
    match code {
        "53100" => Trouble::Full,
        "25006" => Trouble::ReadOnly,
        "58030" => Trouble::Disk,
        "57014" => Trouble::Silent,
        "40001" | "40P01" | "55P03" => Trouble::Passing,
        "42501" => Trouble::Denied,
        "3D000" => Trouble::Gone,
        _ if code.starts_with("28") => Trouble::Denied,
        _ if code.starts_with("08") || code.starts_with("57") => Trouble::Gone,
        _ if code.starts_with("53") => Trouble::Crowded,
        _ if code.starts_with("58") => Trouble::Disk,
        _ => Trouble::Defect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_say_what_an_operator_can_mend() {
        for (code, told) in [
            ("53100", Trouble::Full),
            ("53300", Trouble::Crowded),
            ("25006", Trouble::ReadOnly),
            ("57P01", Trouble::Gone),
            ("57014", Trouble::Silent),
            ("58030", Trouble::Disk),
            ("28P01", Trouble::Denied),
            ("40001", Trouble::Passing),
            ("23505", Trouble::Defect),
            ("XX001", Trouble::Defect),
        ] {
            assert_eq!(trouble(code), told, "{code}");
        }
    }
}
