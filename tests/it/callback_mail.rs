//! An e-mail callback against a real mail server: what arrives, and what becomes of a delivery where
//! something is in its way.

use std::{fs, net::TcpListener, path::Path, time::Duration};

use alertloop::{
    alert::Phase,
    callback::{
        Notice, Outcome, Ran,
        email::{Email, settings::Settings},
        sample::sample,
        settings::Ground,
    },
};
use serde_json::{Value, json};

use crate::support::{MailServer, OF_NO_AUTHORITY, certificate, skip};

/// The default templates of Graylog's alert e-mail (`FormattedEmailAlertSender.java`).
const SUBJECT: &str =
    "Graylog alert for stream: ${stream.title}: ${check_result.resultDescription}";
const BODY: &str = "##########\n\
    Alert Description: ${check_result.resultDescription}\n\
    Date: ${check_result.triggeredAt}\n\
    Stream ID: ${stream.id}\n\
    Stream title: ${stream.title}\n\
    ${if stream_url}Stream URL: ${stream_url}${end}\n\
    \n\
    Triggered condition: ${check_result.triggeredCondition}\n\
    ##########\n\n\
    ${if backlog}Last messages accounting for this alert:\n\
    ${foreach backlog message}${message}\n\n${end}${else}<No backlog>\n${end}\n";

/// The server, or `return`s from a test that cannot run without Python.
macro_rules! server {
    ($how:expr) => {
        match MailServer::start_with(&$how) {
            Ok(server) => server,
            Err(why) => return skip(&why),
        }
    };
}

/// An e-mail callback to `a@` and `b@example.org`, with these settings besides.
fn email(port: u16, more: &Value) -> Email {
    let mut settings = json!({"server": "127.0.0.1", "port": port, "tls": "none",
        "from": "SOC <soc@example.org>", "to": ["a@example.org", "b@example.org"], "timeout": "20s"});
    for (key, value) in more.as_object().expect("an object") {
        settings[key] = value.clone();
    }
    let settings: Settings = serde_json::from_value(settings).expect("settings");
    let ground = Ground { read_file: &|path: &Path| fs::read(path), variable: &|_| None };
    settings.build(&ground).expect("an e-mail")
}

async fn run(email: &Email, notice: &Notice) -> Ran {
    email.run(notice).await.0
}

fn again(ran: &Ran) -> &str {
    match &ran.outcome {
        Outcome::Again(why) => why,
        other => panic!("{other:?} instead of another try"),
    }
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr()).expect("a port").port()
}

#[tokio::test(flavor = "multi_thread")]
async fn graylogs_template_arrives_with_its_backlog() {
    let server = server!(json!({}));
    let mut notice = sample();
    notice.alert.rule.name = Some("Röhre\r\nBcc: evil@example.org".to_owned());
    let html = "<p>${check_result.resultDescription}</p><ul>${foreach backlog m}<li>${m.message}</li>${end}</ul>";
    let email = email(
        server.port(),
        &json!({"subject": SUBJECT, "text": BODY, "html": html,
        "cc": "Café <c@example.org>", "bcc": ["d@example.org"], "reply_to": "help@example.org",
        "headers": {"X-Rule": "{{ alert.rule }}"}}),
    );
    let ran = run(&email, &notice).await;
    assert_eq!((&ran.outcome, ran.status), (&Outcome::Delivered, Some(250)), "{ran:?}");

    let mail = server.next();
    let all = ["a@example.org", "b@example.org", "c@example.org", "d@example.org"];
    assert_eq!(mail["to"], json!(all));
    let header = |name: &str| mail["headers"][name][0].as_str().unwrap_or_default().to_owned();
    let description = "Stream had 2 messages in the last 1 minutes with trigger condition more than 1 messages. (Current grace time: 1 minutes)";
    let subject = format!("Graylog alert for stream: Errors in production: {description}");
    for (name, want) in [
        ("Subject", subject.as_str()),
        ("From", "SOC <soc@example.org>"),
        ("To", "a@example.org, b@example.org"),
        ("Cc", "Café <c@example.org>"),
        ("Reply-To", "help@example.org"),
        ("Auto-Submitted", "auto-generated"),
        ("X-Rule", "Röhre Bcc: evil@example.org"),
    ] {
        assert_eq!(header(name), want, "{name} of {mail:#}");
    }
    assert!(mail["headers"].get("Bcc").is_none(), "nobody sees who gets it unseen: {mail:#}");
    assert!(header("Message-ID").ends_with("@example.org>"), "{mail:#}");
    assert!(!header("Date").is_empty());
    let text = mail["text"].as_str().expect("a text").replace("\r\n", "\n");
    for want in [
        "Stream title: Errors in production\n",
        "Triggered condition: 3c0e1b52-77d4-4f0a-9a65-1d2f84c6b7e9:message_count={time: 1, threshold_type: more, threshold: 1, grace: 1}, stream:={6a1f20c4be01d2331c8e7b10: \"Errors in production\"}\n",
        "\nsource: web-1.example.org | message: WARN: <b>this is a sample</b>, not a real message { ",
        "\nsource: web-1.example.org | message: ERROR: this is a sample, not a real message { ",
    ] {
        assert!(text.contains(want), "{want} in {text}");
    }
    let html = mail["html"].as_str().expect("HTML");
    assert!(html.contains("<li>WARN: &lt;b&gt;this is a sample&lt;"), "{html}");
    assert_eq!(server.rest(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_tried_again_and_a_mended_one_counts_at_once() {
    let server = server!(json!({"username": "soc", "password": "right pä$$"}));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    fs::write(&file, "wrong\n").expect("a file");
    let email = email(server.port(), &json!({"user": "soc", "password_file": file}));
    let ran = run(&email, &sample()).await;
    assert!(again(&ran).starts_with("the server refuses the login: 535 "), "{ran:?}");
    assert!(again(&ran).ends_with("mend user or password"), "{ran:?}");
    assert_eq!(ran.status, Some(535));
    assert_eq!(server.next(), json!({"refused": "soc"}));

    fs::write(&file, "right pä$$\n").expect("a file");
    assert_eq!(run(&email, &sample()).await.outcome, Outcome::Delivered);
    assert_eq!(server.next()["login"], "soc");
    assert_eq!(server.rest(), Vec::<Value>::new(), "it came once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_receiver_keeps_no_other_from_the_mail() {
    let server = server!(json!({"receivers": {"b@example.org": ["550 5.1.1 nobody here"]}}));
    let email = email(server.port(), &json!({}));
    let ran = run(&email, &sample()).await;
    assert_eq!(ran.outcome, Outcome::Delivered);
    assert!(ran.answer.ends_with("not taken: b@example.org: 550 5.1.1 nobody here"), "{ran:?}");
    assert_eq!(server.next()["answer"], "550 5.1.1 nobody here");
    assert_eq!(server.next()["to"], json!(["a@example.org"]));

    let server =
        server!(json!({"receivers": {"a@example.org": ["550 no"], "b@example.org": ["550 no"]}}));
    let email = self::email(server.port(), &json!({}));
    let ran = run(&email, &sample()).await;
    let why = "no receiver is taken: a@example.org: 550 no; b@example.org: 550 no";
    assert_eq!((ran.outcome, ran.status), (Outcome::Refused(why.to_owned()), Some(550)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_the_server_puts_off_gets_it_later_and_the_others_once() {
    let server = server!(json!({"receivers": {"b@example.org": ["450 come back later", ""]},
        "mails": ["", "451 busy", ""]}));
    let email = email(server.port(), &json!({}));
    let ran = run(&email, &sample()).await;
    let why = "not yet taken: b@example.org: 450 come back later; the others have it";
    assert_eq!((again(&ran), ran.status), (why, Some(450)));
    let ran = run(&email, &sample()).await;
    assert!(again(&ran).starts_with("the mail is refused: 451 busy"), "{ran:?}");
    assert_eq!(run(&email, &sample()).await.outcome, Outcome::Delivered);

    let told = server.rest();
    let mails: Vec<&Value> = told.iter().filter(|told| told.get("mail").is_some()).collect();
    let to: Vec<&Value> = mails.iter().map(|mail| &mail["to"]).collect();
    assert_eq!(to, [&json!(["a@example.org"]), &json!(["b@example.org"])]);
    let id = |mail: &Value| mail["headers"]["Message-ID"].clone();
    assert_eq!(id(mails[0]), id(mails[1]), "one delivery is one mail");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_gets_the_mail_once_when_it_is_back() {
    let port = free_port();
    let email = email(port, &json!({}));
    let ran = run(&email, &sample()).await;
    assert!(again(&ran).starts_with(&format!("cannot connect to 127.0.0.1:{port}: ")), "{ran:?}");
    let server = server!(json!({"port": port}));
    assert_eq!(run(&email, &sample()).await.outcome, Outcome::Delivered);
    assert!(server.next()["mail"].is_string());
    assert_eq!(server.rest(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_costs_no_more_than_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let email = email(port, &json!({"timeout": "500ms"}));
    let run = tokio::time::timeout(Duration::from_secs(10), run(&email, &sample())).await;
    let ran = run.expect("an end");
    assert!(again(&ran).contains("no answer"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_is_encrypted_and_its_certificate_is_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = match certificate(folder.path(), "mail", &OF_NO_AUTHORITY) {
        Ok(made) => made,
        Err(why) => return skip(&why),
    };
    for (tls, wrapped) in [("starttls", false), ("tls", true)] {
        let server = server!(json!({"username": "soc", "password": "secret", "tls": wrapped,
            "certificate": certificate, "key": key}));
        let login = json!({"tls": tls, "user": "soc", "password": "secret", "ca": certificate});
        let email = email(server.port(), &login);
        let ran = run(&email, &sample()).await;
        assert_eq!(ran.outcome, Outcome::Delivered, "{tls}: {ran:?}");
        let mail = server.next();
        assert_eq!((&mail["tls"], &mail["login"]), (&json!(true), &json!("soc")), "{tls}");

        let email = self::email(server.port(), &json!({"tls": tls}));
        let ran = run(&email, &sample()).await;
        assert!(again(&ran).contains("ertificate"), "{tls}: {ran:?}");
    }
    let plain = server!(json!({}));
    let email = self::email(plain.port(), &json!({"tls": "starttls"}));
    let ran = run(&email, &sample()).await;
    assert!(again(&ran).contains("offers no STARTTLS; set tls to"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_and_its_end_are_one_thread() {
    let server = server!(json!({}));
    let email = email(server.port(), &json!({}));
    let mut notice = sample();
    for phase in [Phase::Engaged, Phase::Released] {
        notice.alert.phase = phase;
        assert_eq!(run(&email, &notice).await.outcome, Outcome::Delivered);
    }
    let (first, second) = (server.next(), server.next());
    let header = |mail: &Value, name: &str| mail["headers"][name].clone();
    assert_ne!(header(&first, "Message-ID"), header(&second, "Message-ID"));
    assert_eq!(header(&first, "References"), header(&second, "References"));
    assert!(
        second["headers"]["Subject"][0].as_str().is_some_and(|text| text.starts_with("Released: "))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_over_the_rate_waits_and_is_not_lost() {
    let server = server!(json!({}));
    let email = email(server.port(), &json!({"rate": "1/s"}));
    assert_eq!(run(&email, &sample()).await.outcome, Outcome::Delivered);
    let (ran, wait) = email.run(&sample()).await;
    assert!(again(&ran).contains("more mails than `rate` lets out"), "{ran:?}");
    tokio::time::sleep(wait.expect("how long it waits")).await;
    assert_eq!(run(&email, &sample()).await.outcome, Outcome::Delivered);
    assert_eq!(server.rest().len(), 2);
}
