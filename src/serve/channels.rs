//! Channel names, as callers pass them in.

use std::borrow::Cow;

use crate::hub::is_blank;

/// The channels of a subscription, in order, each name once.
///
/// One name or several convert into it: `&str`, `String`, arrays, slices and `Vec`s. Collect an
/// iterator of names into it. Names are exact: they are neither trimmed nor case-folded. Empty and
/// whitespace-only names are dropped.
///
/// ```
/// use eventstream::Channels;
///
/// assert_eq!(Channels::from(["news", " ", "chat", "news"]).as_slice(), ["news", "chat"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channels(Vec<String>);

impl Channels {
    /// Returns the names.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

impl<S: AsRef<str>> FromIterator<S> for Channels {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        let mut seen = std::collections::HashSet::new();
        let mut channels = Vec::new();
        for name in names {
            let name = name.as_ref();
            if !is_blank(name) && seen.insert(name.to_owned()) {
                channels.push(name.to_owned());
            }
        }
        Self(channels)
    }
}

impl From<&str> for Channels {
    fn from(name: &str) -> Self {
        name.to_owned().into()
    }
}

impl From<String> for Channels {
    fn from(name: String) -> Self {
        Self(if is_blank(&name) { Vec::new() } else { vec![name] })
    }
}

impl From<&String> for Channels {
    fn from(name: &String) -> Self {
        name.as_str().into()
    }
}

impl From<Cow<'_, str>> for Channels {
    fn from(name: Cow<'_, str>) -> Self {
        name.into_owned().into()
    }
}

impl<S: AsRef<str>, const N: usize> From<[S; N]> for Channels {
    fn from(names: [S; N]) -> Self {
        names.into_iter().collect()
    }
}

impl<S: AsRef<str>, const N: usize> From<&[S; N]> for Channels {
    fn from(names: &[S; N]) -> Self {
        names.iter().collect()
    }
}

impl<S: AsRef<str>> From<&[S]> for Channels {
    fn from(names: &[S]) -> Self {
        names.iter().collect()
    }
}

impl<S: AsRef<str>> From<Vec<S>> for Channels {
    fn from(names: Vec<S>) -> Self {
        names.into_iter().collect()
    }
}

impl<S: AsRef<str>> From<&Vec<S>> for Channels {
    fn from(names: &Vec<S>) -> Self {
        names.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_the_same_exact_names() {
        let both = Channels(vec!["a".into(), " b ".into()]);
        let (owned, list) = (String::from("a"), vec!["a", " b ", "\t \n", "a"]);
        assert_eq!(Channels::from(["a", " b ", ""]), both);
        assert_eq!(Channels::from(&["a", " b "]), both);
        assert_eq!(Channels::from(&list[..]), both);
        assert_eq!(Channels::from(&list), both);
        assert_eq!(list.iter().collect::<Channels>(), both);
        assert_eq!(Channels::from(list), both);
        for one in [Channels::from("a"), (&owned).into(), Cow::from("a").into(), owned.into()] {
            assert_eq!(one.as_slice(), ["a"]);
        }
        assert_eq!(Channels::from("\u{2003}"), Channels::default());
    }
}
