//! What the queue reader is told: where Redis is, which lists are taken, what is pushed on. Pure.

use redis::{ConnectionAddr, IntoConnectionInfo as _};

use crate::secrets::RedisUrl;

/// How an address looks, for who wrote another.
const FORMS: &str = "needs an address like redis://host:6379/0, rediss://user:password@host:6379/0 \
                     or unix:///run/redis.sock?db=0";

/// Which lists of which Redis are taken.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address, with the login.
    pub url: RedisUrl,
    /// The CA of its certificate, in PEM; the system's own where there is none.
    pub ca: Option<Vec<u8>>,
    /// Our own certificate and its key, in PEM.
    pub identity: Option<Identity>,
    /// The lists, at least one, each with where its items are pushed on to.
    pub queues: Vec<Queue>,
}

/// One list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its key.
    pub name: String,
    /// The key of the list that gets each item after us.
    pub tee: Option<String>,
}

/// A client certificate with its key, both PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// Checks an address, without keeping a part of it that could be shown by mistake.
///
/// # Errors
/// What is wrong, without the address.
pub fn url(text: &str) -> Result<RedisUrl, &'static str> {
    let text = text.trim();
    let info = text.into_connection_info().map_err(|_| FORMS)?;
    if info.redis_settings().username().is_some() && info.redis_settings().password().is_none() {
        return Err(
            "holds a user without a password: write it as user:password, or leave both out",
        );
    }
    Ok(RedisUrl::from(text.to_owned()))
}

/// Whether an address means TLS.
#[must_use]
pub fn is_tls(url: &RedisUrl) -> bool {
    let info = url.expose().into_connection_info();
    info.is_ok_and(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. }))
}

/// Reads the names of lists, separated by commas.
///
/// # Errors
/// What is wrong.
pub fn queues(text: &str) -> Result<Vec<String>, &'static str> {
    let names: Vec<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) {
        return Err("needs the names of lists, separated by commas");
    }
    if names.iter().enumerate().any(|(at, name)| names[..at].contains(name)) {
        return Err("names a list twice");
    }
    if names.iter().any(|name| name.starts_with(super::keys::PREFIX)) {
        return Err("names a list of our own");
    }
    Ok(names)
}

/// Reads `queue=list` pairs, separated by commas, and gives every queue its list.
///
/// # Errors
/// What is wrong.
pub fn with_tees(queues: Vec<String>, text: &str) -> Result<Vec<Queue>, &'static str> {
    let mut all: Vec<_> = queues.into_iter().map(|name| Queue { name, tee: None }).collect();
    for pair in text.split(',').filter(|_| !text.trim().is_empty()) {
        let (name, tee) =
            pair.split_once('=').map_or(("", ""), |(name, tee)| (name.trim(), tee.trim()));
        if name.is_empty() || tee.is_empty() {
            return Err("needs pairs like queue=list, separated by commas");
        }
        if all.iter().any(|queue| queue.name == tee) {
            return Err("pushes on to a list that is taken too: its items would never end");
        }
        if tee.starts_with(super::keys::PREFIX) {
            return Err("pushes on to a list of our own");
        }
        match all.iter_mut().find(|queue| queue.name == name) {
            Some(queue) if queue.tee.is_none() => queue.tee = Some(tee.to_owned()),
            Some(_) => return Err("names a queue twice"),
            None => return Err("names a queue that ALERTLOOP_NTOPNG_QUEUES does not"),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_never_repeated() {
        for (text, want) in [
            ("redis://127.0.0.1", Some(false)),
            ("redis://:hunter2@redis:6379/5", Some(false)),
            ("rediss://ann:hunter2@redis/0", Some(true)),
            ("rediss://redis#insecure", Some(true)),
            ("valkey://valkey:6379", Some(false)),
            ("unix:///run/redis.sock?db=1&user=ann&pass=hunter2", Some(false)),
            ("redis://ann@redis", None),
            ("http://ann:hunter2@redis", None),
            ("redis://redis/hunter2", None),
            ("rediss://redis#hunter2", None),
            ("hunter2", None),
            ("redis://", None),
        ] {
            match url(text) {
                Ok(url) => {
                    assert_eq!(Some(is_tls(&url)), want, "{text}");
                    assert_eq!(format!("{url:?}"), "[REDACTED]");
                }
                Err(fault) => {
                    assert_eq!(want, None, "{text}: {fault}");
                    assert!(!fault.contains("hunter2"), "{fault}");
                }
            }
        }
    }

    #[test]
    fn lists_are_named_once_and_are_not_ours() {
        assert_eq!(queues(" a , b.c ").unwrap(), ["a", "b.c"]);
        for bad in ["", "a,", "a,b,a", "alertloop:queue:a:work:1"] {
            assert!(queues(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_tee_leads_from_a_queue_to_a_list_that_is_none() {
        let read = |text: &str| with_tees(vec!["a".to_owned(), "b".to_owned()], text);
        let tees = |text: &str| -> Vec<_> {
            read(text).unwrap().into_iter().map(|queue| queue.tee).collect()
        };
        let none: Vec<Option<String>> = vec![None, None];
        assert_eq!(none, tees(""));
        assert_eq!(vec![None, Some("c".to_owned())], tees(" b = c "));
        assert_eq!(vec![Some("c".to_owned()), Some("c".to_owned())], tees("a=c,b=c"));
        for bad in ["a", "a=", "=c", "x=c", "a=b", "a=a", "a=c,a=d", "a=alertloop:x", "a=c,"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
