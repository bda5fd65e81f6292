use std::{fs, path::Path};

use super::*;
use crate::callback::{
    email::compose,
    model::Model,
    sample::{bare, sample},
};

fn build(toml: &str) -> Result<Email, Vec<String>> {
    let settings: Settings =
        toml::from_str(toml).map_err(|fault| vec![fault.message().to_owned()])?;
    let variable = |name: &str| (name == "MAIL_PASSWORD").then(|| "s3cret-value".to_owned());
    settings.build(&Ground { read_file: &|path: &Path| fs::read(path), variable: &variable })
}

const LEAST: &str =
    "server = 'mail.example.org'\nfrom = 'SOC <soc@example.org>'\nto = 'a@example.org'\n";

#[test]
fn little_is_needed_and_the_rest_has_a_default() {
    let email = build(LEAST).expect("an e-mail");
    assert_eq!((email.port, email.timeout), (587, TIMEOUT));
    assert!(matches!(email.security, Security::StartTls(_)));
    assert_eq!(email.hello.to_string(), "example.org");
    for (tls, port) in [("tls", 465), ("none", 25)] {
        assert_eq!(build(&format!("{LEAST}tls = '{tls}'")).expect(tls).port, port);
    }
    for notice in [sample(), bare()] {
        email.render(&notice).expect("a mail");
    }
}

#[test]
fn what_is_wrong_is_told_all_at_once_and_without_secrets() {
    for (toml, wants) in [
        ("server = 's'\nfrom = 'a@b.example'", vec!["to: names no receiver"]),
        ("server = 's'\nfrom = 'a@b.example'\nto = []", vec!["to: names no receiver"]),
        (
            "server = 's:25/x'\nfrom = 'nobody'\nto = ['x', 'a@b.example']\nrate = 'often'\ntimeout = '1'",
            vec![
                "from: \"nobody\" is no e-mail",
                "to: \"x\" is no",
                "server: needs",
                "timeout: needs",
                "rate: needs",
            ],
        ),
        (
            &format!("{LEAST}subject = '{{{{ stream.titel }}}}'"),
            vec!["subject: line 1: unknown stream.titel"],
        ),
        (&format!("{LEAST}html = '${{nothing}}'"), vec!["html: line 1: unknown nothing"]),
        (
            &format!("{LEAST}headers = {{ To = 'x', 'X A' = 'y', X-B = '{{{{ no }}}}' }}"),
            vec![
                "headers.To: is the mail's own",
                "headers.X A: is no name",
                "headers.X-B: line 1: unknown no",
            ],
        ),
        (&format!("{LEAST}user = 'u'"), vec!["user: has no password"]),
        (&format!("{LEAST}password_env = 'MAIL_PASSWORD'"), vec!["user: is missing"]),
        (&format!("{LEAST}user = 'u'\npassword_env = 'NONE'"), vec!["password_env: the variable"]),
        (
            &format!(
                "{LEAST}user = 'u'\npassword = 's3cret-value'\npassword_env = 'MAIL_PASSWORD'"
            ),
            vec!["password: is given twice"],
        ),
        (&format!("{LEAST}password_file = '/nowhere/at/all'"), vec!["password_file: cannot read"]),
        (&format!("{LEAST}ca = '/nowhere/at/all'"), vec!["ca: cannot read"]),
        (&format!("{LEAST}tls = 'none'\nca = '/nowhere'"), vec!["ca: counts only with TLS"]),
        (&format!("{LEAST}receivers = 'x'"), vec!["unknown field `receivers`"]),
        (&format!("{LEAST}tls = 'maybe'"), vec!["unknown variant `maybe`"]),
        (&format!("{LEAST}cc = 5"), vec!["must be an address or a list"]),
    ] {
        let faults = build(toml).map(drop).expect_err(toml);
        let all = faults.join("\n");
        for want in wants {
            assert!(all.contains(want), "{want} in {all} of {toml}");
        }
        assert!(!all.contains("s3cret"), "{all}");
    }
}

#[test]
fn a_mail_goes_out_though_its_templates_fail() {
    let failing = "{{ 5 // (alert.hits|or_else(5)) }}";
    let toml = format!(
        "{LEAST}subject = '{failing}'\ntext = '{failing}'\nhtml = '{failing}'\nheaders = {{ X-A = '{failing}' }}"
    );
    let email = build(&toml).expect("an e-mail");
    let mut notice = sample();
    notice.alert.hits = Some(0);
    let now = notice.received;
    let mail = compose::mail(&email, &Model::of(&notice), &notice, now).expect("a mail");
    let mail = String::from_utf8_lossy(&mail.bytes).replace("=\r\n", "");
    assert!(mail.contains("\r\nSubject: Sample of alertloop: "), "{mail}");
    for name in ["subject", "text", "html", "X-A"] {
        assert!(mail.contains(&format!("{name}: line 1: ")), "{name}: {mail}");
    }
    assert!(!mail.contains("\r\nX-A:") && !mail.contains("text/html"), "{mail}");
}

#[test]
fn what_mail_servers_refuse_in_a_text_is_not_in_it() {
    let email =
        build(&format!("{LEAST}html = '<p>{{{{ alert.message }}}}</p>'")).expect("an e-mail");
    let mut notice = sample();
    let told = notice.alert.occasion.as_mut().expect("an occasion");
    told.description = Some("a\0b\rc\r\nd\u{1b}[31m".to_owned());
    notice.alert.message.clone_from(&told.description);
    let mail =
        compose::mail(&email, &Model::of(&notice), &notice, notice.received).expect("a mail");
    let mail = String::from_utf8(mail.bytes).expect("UTF-8");
    let rest = mail.replace("\r\n", "\n");
    assert!(!rest.contains(|c: char| c.is_ascii_control() && c != '\n' && c != '\t'), "{rest:?}");
    assert!(rest.contains("\n\na b\nc\nd [31m\n"), "{rest}");
}

#[test]
fn a_password_is_never_printed() {
    let toml = format!("{LEAST}user = 'u'\npassword_env = 'MAIL_PASSWORD'");
    let email = build(&toml).expect("an e-mail");
    assert!(!format!("{email:?}").contains("s3cret"));
}

#[test]
fn a_receiver_is_told_once_and_one_mail_stays_one_mail() {
    let toml = format!("{LEAST}cc = ['a@example.org', 'b@example.org']\nbcc = 'B <b@example.org>'");
    let email = build(&toml).expect("an e-mail");
    let receivers: Vec<String> = email.receivers().map(|to| to.to_string()).collect();
    assert_eq!(receivers, ["a@example.org", "b@example.org"]);
    let shown = |notice| email.render(&notice).expect("a mail");
    assert_eq!(shown(sample()), shown(sample()), "its Message-ID is the same at each try");
    let mut later = sample();
    later.alert.phase = crate::alert::Phase::Released;
    assert_ne!(shown(later), shown(sample()));
}

#[test]
fn what_the_documentation_shows_is_the_usual_mail() {
    let docs = include_str!("../../../../docs/email-callback.md");
    let shown = docs.split("```mail\n").nth(1).and_then(|rest| rest.split("```").next());
    let (subject, text) = shown.and_then(|mail| mail.split_once("\n\n")).expect("a mail");
    let mail = build(LEAST).expect("an e-mail").render(&sample()).expect("a mail");
    assert!(mail.contains(&format!("\n{subject}\n")), "{mail}");
    assert!(mail.ends_with(&format!("\n\n{text}")), "{mail}");
}
