//! Users of this machine, by name.

/// Number of a user, and of the group that is its first.
///
/// Source: `/etc/passwd`, passwd(5): `name:password:UID:GID:comment:directory:shell`. An image may
/// have no library that asks elsewhere.
pub fn ids(passwd: &str, user: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut parts = line.split(':');
        let (name, _, uid, gid) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        (name == user || user.parse() == Ok(uid)).then_some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_or_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbad\nnobody:x:65534:65533::/:/bin/false\n";
        for (user, want) in [
            ("nobody", Some((65_534, 65_533))),
            ("65534", Some((65_534, 65_533))),
            ("root", Some((0, 0))),
            ("nobod", None),
            ("1000", None),
            ("", None),
        ] {
            assert_eq!(ids(passwd, user), want, "{user}");
        }
    }
}
