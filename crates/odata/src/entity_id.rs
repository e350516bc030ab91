use std::fmt;

use uuid::Uuid;

/// `Set(guid)`: a canonical URL relative to the service root (`OData` URL Conventions 4.01 §4.3.1). The set name is not
/// checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityId {
    pub set: String,
    pub key: Uuid,
}

impl EntityId {
    pub fn parse(text: &str) -> Option<Self> {
        let (set, rest) = text.split_once('(')?;
        let key = parse_guid(rest.strip_suffix(')')?)?;
        is_identifier(set).then(|| Self { set: set.to_owned(), key })
    }

    /// Parses an id relative to or below `service_root` (which ends with `/`). Ids of other servers are refused.
    pub fn parse_reference(text: &str, service_root: &str) -> Option<Self> {
        Self::parse(text.strip_prefix(service_root).unwrap_or(text))
    }
}

impl fmt::Display for EntityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.set, self.key)
    }
}

/// The only form of `Edm.Guid`: 8-4-4-4-12 hexadecimal digits, in any case.
pub(crate) fn parse_guid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok())?
}

/// `odataIdentifier`, limited to ASCII.
pub(crate) fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 128
        && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "c0000000-0000-4000-8000-00000000100a";

    #[test]
    fn an_entity_id_reads_in_any_case_and_writes_in_lower_case() {
        let id = EntityId::parse(&format!("Crm_Customers({})", KEY.to_uppercase())).expect("valid");
        assert_eq!(id.to_string(), format!("Crm_Customers({KEY})"));
    }

    #[test]
    fn a_reference_may_be_absolute_but_only_of_this_service() {
        let root = "https://shop.example.test/api/domain/odata/";
        let relative = format!("A_B({KEY})");
        assert!(EntityId::parse_reference(&relative, root).is_some());
        assert!(EntityId::parse_reference(&format!("{root}{relative}"), root).is_some());
        assert!(EntityId::parse_reference(&format!("https://else.example/{relative}"), root).is_none());
    }

    #[test]
    fn anything_else_is_no_entity_id() {
        let bare = KEY.replace('-', "");
        for text in [
            String::new(),
            "A".to_owned(),
            format!("A({KEY}"),
            format!("({KEY})"),
            format!("A({KEY})/B"),
            format!("A('{KEY}')"),
            format!("A({{{KEY}}})"),
            format!("A({bare})"),
            format!("A B({KEY})"),
            format!("1A({KEY})"),
        ] {
            assert_eq!(EntityId::parse(&text), None, "{text}");
        }
    }
}
