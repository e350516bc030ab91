//! Common parts of the schemes of `Authorization` and `WWW-Authenticate` (RFC 9110 §11).

/// Splits off the scheme; the rest is without surrounding blanks (RFC 9110 §11.4). The scheme's case does not matter
/// (§11.1).
pub fn split_scheme(authorization: &[u8]) -> (&[u8], &[u8]) {
    match authorization.iter().position(|&byte| byte == b' ') {
        Some(space) => (&authorization[..space], authorization[space..].trim_ascii()),
        None => (authorization, &[]),
    }
}

/// RFC 6750 §3 forbids `"` and `\` in these values even escaped. They and all unprintable characters become `?`.
pub(crate) fn quotable(text: &str) -> String {
    let allowed = |character: char| matches!(character, ' '..='~') && character != '"' && character != '\\';
    text.chars().map(|character| if allowed(character) { character } else { '?' }).collect()
}
