//! Why Redis does not do what it is asked, in words for an operator. Pure.

use redis::{ErrorKind, RedisError, ServerError};

/// What kind of trouble it is, as far as that makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server does not know the command, or the user may not use it.
    NoCommand,
    /// The server has no memory for more.
    NoMemory,
    /// There is no such key.
    NoKey,
    /// Anything else.
    Other,
}

/// Why Redis did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Fault {
    /// What kind of trouble it is.
    pub kind: Kind,
    /// What it said, and what to do.
    pub text: String,
}

impl Fault {
    /// Sorts what a server says: the first word, and the rest.
    #[must_use]
    pub fn of(code: &str, rest: &str) -> Self {
        let said = format!("{code} {rest}");
        let said = said.trim();
        let lower = rest.to_ascii_lowercase();
        let kind = match code {
            "NOPERM" if lower.contains("command") => Kind::NoCommand,
            "ERR" if lower.starts_with("unknown command") => Kind::NoCommand,
            "ERR" if lower.starts_with("no such key") => Kind::NoKey,
            "OOM" => Kind::NoMemory,
            _ => Kind::Other,
        };
        let mend = match code {
            "WRONGTYPE" => {
                "the key is no list: ALERTLOOP_NTOPNG_QUEUES and ALERTLOOP_NTOPNG_TEE name lists"
            }
            "NOAUTH" => "the server wants a password: put it into ALERTLOOP_NTOPNG_REDIS_URL",
            "WRONGPASS" => "correct user and password in ALERTLOOP_NTOPNG_REDIS_URL",
            "NOPERM" => "give the user the rights that docs/ntopng-queue.md names",
            "READONLY" => "this is a replica: let ALERTLOOP_NTOPNG_REDIS_URL name the primary",
            "OOM" => "make room in Redis, or raise its maxmemory",
            "LOADING" => "it reads its data, and is asked again",
            "MISCONF" => "it cannot write its own data: look at its disk and its log",
            "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => "Redis Cluster is not supported",
            "ERR" if lower.contains("invalid password") || lower.contains("no password is set") => {
                "correct user and password in ALERTLOOP_NTOPNG_REDIS_URL"
            }
            "ERR" if lower.contains("max number of clients") => "raise its maxclients",
            "ERR" if lower.contains("db index") || lower.contains("invalid db") => {
                "the server has no such database: correct the number in ALERTLOOP_NTOPNG_REDIS_URL"
            }
            "ERR" if kind == Kind::NoCommand => {
                "the server must know LMOVE (6.2), or RENAMENX for the old way"
            }
            _ => "",
        };
        let text = if mend.is_empty() {
            format!("Redis says: {said}")
        } else {
            format!("Redis says: {said}; {mend}")
        };
        Self { kind, text }
    }

    /// Something that a server of ours never answers.
    #[must_use]
    pub fn unexpected(what: &str) -> Self {
        Self { kind: Kind::Other, text: format!("the answer to {what} is not what Redis answers") }
    }
}

impl From<&ServerError> for Fault {
    fn from(error: &ServerError) -> Self {
        Self::of(error.code(), error.details().unwrap_or_default())
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        let all = error.clone().into_server_errors();
        if let Some((_, first)) = all.as_deref().and_then(<[_]>::first) {
            return first.into();
        }
        if let Some(code) = error.code() {
            return Self::of(code, error.detail().unwrap_or_default());
        }
        let text = match error.kind() {
            ErrorKind::AuthenticationFailed => {
                "Redis refuses the login; correct user and password in ALERTLOOP_NTOPNG_REDIS_URL"
                    .to_owned()
            }
            _ if error.is_timeout() => "Redis does not answer in time".to_owned(),
            _ => format!("no connection to Redis: {error}"),
        };
        Self { kind: Kind::Other, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_says_what_to_do() {
        for (code, rest, kind, mend) in [
            (
                "ERR",
                "unknown command 'BLMOVE', with args beginning with: 'q'",
                Kind::NoCommand,
                "LMOVE",
            ),
            ("ERR", "unknown command `BLMOVE`, with args", Kind::NoCommand, "LMOVE"),
            (
                "NOPERM",
                "this user has no permissions to run the 'blmove' command",
                Kind::NoCommand,
                "ntopng-queue.md",
            ),
            ("NOPERM", "No permissions to access a key", Kind::Other, "ntopng-queue.md"),
            ("ERR", "no such key", Kind::NoKey, ""),
            (
                "OOM",
                "command not allowed when used memory > 'maxmemory'.",
                Kind::NoMemory,
                "maxmemory",
            ),
            (
                "WRONGTYPE",
                "Operation against a key holding the wrong kind of value",
                Kind::Other,
                "no list",
            ),
            ("NOAUTH", "Authentication required.", Kind::Other, "password"),
            ("READONLY", "You can't write against a read only replica.", Kind::Other, "primary"),
            ("MOVED", "3999 127.0.0.1:6381", Kind::Other, "Cluster"),
            ("ERR", "something new", Kind::Other, ""),
        ] {
            let fault = Fault::of(code, rest);
            assert_eq!(fault.kind, kind, "{code} {rest}");
            assert!(fault.text.contains(rest) && fault.text.contains(mend), "{fault}");
        }
    }
}
