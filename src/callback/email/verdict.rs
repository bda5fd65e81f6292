//! What a conversation with a mail server came to. Pure.
//!
//! | said | means |
//! |---|---|
//! | nothing, or the connection broke | again |
//! | login refused (535) | again: somebody will mend it |
//! | 4xx | again, for those who did not take it |
//! | 5xx to the sender, the mail or every receiver | refused |
//! | 5xx to some of the receivers | delivered to the others; the answer says who did not |

use super::conversation::{Reply, Told};
use crate::callback::Outcome;

/// The longest answer that is kept, in bytes.
const LONGEST: usize = 2_048;

/// What it came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it means.
    pub outcome: Outcome,
    /// The code that decided.
    pub status: Option<i32>,
    /// What the server said, for people.
    pub answer: String,
    /// Who has the mail now.
    pub taken: Vec<String>,
}

/// Judges a conversation in which so many receivers have taken the mail in earlier ones.
pub fn of(told: &Told, before: usize) -> Verdict {
    let is_mail_taken = told.mail.as_ref().is_some_and(is_good);
    let of_kind = |kind: fn(&Reply) -> bool| {
        told.receivers.iter().filter(move |(_, reply)| kind(reply)).collect::<Vec<_>>()
    };
    let (later, never) = (of_kind(is_later), of_kind(is_never));
    let taken: Vec<String> = if is_mail_taken {
        of_kind(is_good).into_iter().map(|(to, _)| to.clone()).collect()
    } else {
        Vec::new()
    };
    let list = |of: &[&(String, Reply)]| {
        let each: Vec<_> = of.iter().map(|(to, reply)| format!("{to}: {}", shown(reply))).collect();
        each.join("; ")
    };
    let mut answer = told.mail.as_ref().map(shown).unwrap_or_default();
    if !never.is_empty() && (is_mail_taken || before > 0) {
        answer = format!("{answer}; not taken: {}", list(&never));
    }
    let status = |reply: &Reply| Some(i32::from(reply.code));
    let first = |of: &[&(String, Reply)]| of.first().and_then(|(_, reply)| status(reply));
    let (outcome, status) = if let Some(reply) = &told.login {
        let why = format!("the server refuses the login: {}; mend user or password", shown(reply));
        (Outcome::Again(why), status(reply))
    } else if let Some(why) = told.broken.as_ref().filter(|_| !is_mail_taken) {
        (Outcome::Again(why.clone()), None)
    } else if let Some(reply) = told.sender.as_ref().filter(|reply| !is_good(reply)) {
        let why = format!("the sender is refused: {}", shown(reply));
        // 530: it wants a login first.
        let again = is_later(reply) || reply.code == 530;
        (if again { Outcome::Again(why) } else { Outcome::Refused(why) }, status(reply))
    } else if let Some(reply) = told.mail.as_ref().filter(|reply| !is_good(reply)) {
        let why = format!("the mail is refused: {}", shown(reply));
        (if is_later(reply) { Outcome::Again(why) } else { Outcome::Refused(why) }, status(reply))
    } else if !later.is_empty() {
        let others = if taken.is_empty() && before == 0 { "" } else { "; the others have it" };
        (Outcome::Again(format!("not yet taken: {}{others}", list(&later))), first(&later))
    } else if is_mail_taken || before > 0 {
        (Outcome::Delivered, told.mail.as_ref().and_then(status).or(Some(250)))
    } else {
        (Outcome::Refused(format!("no receiver is taken: {}", list(&never))), first(&never))
    };
    let answer = plain(answer.trim_start_matches("; "));
    let outcome = match outcome {
        Outcome::Again(why) => Outcome::Again(plain(&why)),
        Outcome::Refused(why) => Outcome::Refused(plain(&why)),
        Outcome::Delivered => Outcome::Delivered,
    };
    Verdict { outcome, status, answer, taken }
}

const fn is_good(reply: &Reply) -> bool {
    reply.code < 400
}

const fn is_later(reply: &Reply) -> bool {
    reply.code >= 400 && reply.code < 500
}

const fn is_never(reply: &Reply) -> bool {
    reply.code >= 500
}

fn shown(reply: &Reply) -> String {
    format!("{} {}", reply.code, reply.text)
}

/// On one line, and not without bound.
fn plain(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text[..text.floor_char_boundary(LONGEST)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, text: &str) -> Reply {
        Reply { code, text: text.to_owned() }
    }

    /// A conversation in which the receivers got these codes, and the mail that.
    fn told(receivers: &[u16], mail: Option<u16>) -> Told {
        let receivers = receivers.iter().enumerate();
        Told {
            sender: Some(reply(250, "ok")),
            receivers: receivers.map(|(n, code)| (format!("r{n}"), reply(*code, "said"))).collect(),
            mail: mail.map(|code| reply(code, "mail")),
            ..Told::default()
        }
    }

    #[test]
    fn what_the_server_says_decides() {
        let again = |why: &str| Outcome::Again(why.to_owned());
        let refused = |why: &str| Outcome::Refused(why.to_owned());
        let login = Told { login: Some(reply(535, "no")), ..Told::default() };
        let broken = Told { broken: Some("gone".to_owned()), ..Told::default() };
        let late = Told { broken: Some("late".to_owned()), ..told(&[250], Some(250)) };
        let sender = |code| Told { sender: Some(reply(code, "no")), ..Told::default() };
        for (told, before, outcome, status, taken) in [
            (told(&[250, 250], Some(250)), 0, Outcome::Delivered, Some(250), 2),
            (told(&[250, 550], Some(250)), 0, Outcome::Delivered, Some(250), 1),
            (told(&[550], None), 1, Outcome::Delivered, Some(250), 0),
            (
                told(&[550, 551], None),
                0,
                refused("no receiver is taken: r0: 550 said; r1: 551 said"),
                Some(550),
                0,
            ),
            (
                told(&[250, 450], Some(250)),
                0,
                again("not yet taken: r1: 450 said; the others have it"),
                Some(450),
                1,
            ),
            (told(&[450], None), 0, again("not yet taken: r0: 450 said"), Some(450), 0),
            (told(&[250], Some(451)), 0, again("the mail is refused: 451 mail"), Some(451), 0),
            (told(&[250], Some(554)), 0, refused("the mail is refused: 554 mail"), Some(554), 0),
            (
                login,
                0,
                again("the server refuses the login: 535 no; mend user or password"),
                Some(535),
                0,
            ),
            (sender(421), 0, again("the sender is refused: 421 no"), Some(421), 0),
            (sender(530), 0, again("the sender is refused: 530 no"), Some(530), 0),
            (sender(553), 0, refused("the sender is refused: 553 no"), Some(553), 0),
            (broken, 0, again("gone"), None, 0),
            // What breaks after the mail was taken changes nothing.
            (late, 0, Outcome::Delivered, Some(250), 1),
        ] {
            let verdict = of(&told, before);
            assert_eq!((verdict.outcome, verdict.status), (outcome, status), "{told:?}");
            assert_eq!(verdict.taken.len(), taken, "{told:?}");
        }
    }

    #[test]
    fn a_delivery_says_who_did_not_take_it() {
        let verdict = of(&told(&[250, 550], Some(250)), 0);
        assert_eq!(verdict.answer, "250 mail; not taken: r1: 550 said");
        assert_eq!(of(&told(&[550], None), 1).answer, "not taken: r0: 550 said");
    }

    #[test]
    fn what_a_server_says_is_bounded_and_on_one_line() {
        let mut told = told(&[250], Some(250));
        told.mail = Some(reply(250, &"a\r\nb".repeat(10_000)));
        let answer = of(&told, 0).answer;
        assert!(answer.len() <= LONGEST && !answer.contains('\n'), "{}", answer.len());
    }
}
