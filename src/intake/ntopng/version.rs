//! ntopng's versions, as far as they decide what a code means.

use std::{fmt, str::FromStr};

/// A version of ntopng: `6.2`. Its third part changes no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    major: u8,
    minor: u8,
}

/// The form in which ntopng tells an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Generation {
    /// Up to 3.9: `entity_type`, `type`, `severity`, as numbers or as names.
    A,
    /// 4.0 to 4.3: `alert_entity`, `alert_type`, `alert_severity`.
    B,
    /// From 5.0 on: `entity_id`, `alert_id`, `score`.
    C,
}

impl Version {
    /// The version of these two numbers.
    #[must_use]
    pub const fn new(major: u8, minor: u8) -> Self {
        Self { major, minor }
    }

    /// The generation that it speaks.
    #[must_use]
    pub const fn generation(self) -> Generation {
        match self.major {
            ..=3 => Generation::A,
            4 => Generation::B,
            5.. => Generation::C,
        }
    }
}

impl Generation {
    /// The version that an alert of this generation is read by: the declared one where it speaks it,
    /// else the last that does and whose codes are known.
    #[must_use]
    pub fn version(self, declared: Option<Version>) -> Version {
        declared.filter(|version| version.generation() == self).unwrap_or(match self {
            Self::A => Version::new(3, 8),
            Self::B => Version::new(4, 2),
            Self::C => Version::new(6, 2),
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = "needs ntopng's version, from 3.4 on, like 6.2";
        let mut parts = text.trim().trim_start_matches('v').split('.');
        let mut number = || parts.next()?.parse().ok();
        let version = number().zip(number()).map(|(major, minor)| Self { major, minor });
        version
            .filter(|version| (Self::new(3, 4)..=Self::new(20, 99)).contains(version))
            .ok_or(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_two_numbers_from_3_4_on() {
        for (text, want) in [
            ("3.6", Some("3.6")),
            (" v6.2.240915 ", Some("6.2")),
            ("4.0", Some("4.0")),
            ("3.2", None),
            ("6", None),
            ("six.two", None),
            ("", None),
            ("99.1", None),
        ] {
            let got = text.parse::<Version>().ok().map(|version| version.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn a_declared_version_counts_for_its_own_generation_alone() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        for (generation, declared, want) in [
            (Generation::A, None, "3.8"),
            (Generation::A, Some("3.6"), "3.6"),
            (Generation::A, Some("6.2"), "3.8"),
            (Generation::B, Some("4.0"), "4.0"),
            (Generation::B, Some("3.6"), "4.2"),
            (Generation::C, Some("5.0"), "5.0"),
            (Generation::C, Some("7.1"), "7.1"),
            (Generation::C, None, "6.2"),
        ] {
            assert_eq!(generation.version(declared.map(version)), version(want), "{declared:?}");
        }
    }
}
