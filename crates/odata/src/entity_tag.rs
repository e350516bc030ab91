/// The entity tags of `If-Match` or `If-None-Match` (RFC 9110 §13.1.1, §13.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityTags {
    Any,
    Listed(Vec<String>),
}

/// Maximum number of tags in one header. Clients send one, seldom more.
const MAX_TAGS: usize = 32;

impl EntityTags {
    /// `*`, or a list of tags. `W/` is ignored: compressing proxies make strong tags weak, and `OData` clients send
    /// back the tag that they received, so only the quoted text is compared (RFC 9110 §8.8.3.2, weak).
    pub fn parse(header: &str) -> Option<Self> {
        if header.trim() == "*" {
            return Some(Self::Any);
        }
        let mut tags = Vec::new();
        let mut rest = header.trim();
        loop {
            let quoted = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?;
            let (tag, after) = quoted.split_once('"')?;
            tags.push(tag.to_owned());
            rest = after.trim_start();
            if rest.is_empty() {
                return Some(Self::Listed(tags));
            }
            rest = rest.strip_prefix(',').filter(|_| tags.len() < MAX_TAGS)?.trim_start();
        }
    }

    pub fn contains(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(tags) => tags.iter().any(|listed| listed == tag),
        }
    }
}

/// The preconditions of a request (RFC 9110 §13.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    pub if_match: Option<EntityTags>,
    pub if_none_match: Option<EntityTags>,
}

impl Preconditions {
    /// Whether the preconditions hold for an existing entity with this tag.
    pub fn hold(&self, tag: &str) -> bool {
        let matches = self.if_match.as_ref().is_none_or(|tags| tags.contains(tag));
        matches && !self.if_none_match.as_ref().is_some_and(|tags| tags.contains(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_weak_or_strong() {
        let listed = |tags: &[&str]| Some(EntityTags::Listed(tags.iter().map(|&tag| tag.to_owned()).collect()));
        for (header, tags) in [
            ("*", Some(EntityTags::Any)),
            (" * ", Some(EntityTags::Any)),
            ("\"3\"", listed(&["3"])),
            ("W/\"3\"", listed(&["3"])),
            ("\"a,b\" , W/\"4\",\"\"", listed(&["a,b", "4", ""])),
            ("", None),
            ("3", None),
            ("\"3", None),
            ("w/\"3\"", None),
            ("\"3\" \"4\"", None),
            ("\"3\",", None),
            ("*, \"3\"", None),
        ] {
            assert_eq!(EntityTags::parse(header), tags, "{header}");
        }
        assert_eq!(EntityTags::parse(&vec!["\"1\""; MAX_TAGS + 1].join(",")), None);
    }

    #[test]
    fn any_tag_is_among_all() {
        assert!(EntityTags::Any.contains("7"));
        let listed = EntityTags::parse("\"3\", \"4\"").expect("tags");
        assert!(listed.contains("4") && !listed.contains("5"));
    }
}
