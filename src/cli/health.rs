//! `alertloop health`: one question to a running service, for images without a shell or curl.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use reqwest::redirect::Policy;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use url::Url;

use super::service::innermost;
use crate::{
    config::{self, SettingsArgs},
    tls,
};

/// Limit of the whole question, in a container whose health check has one of its own.
const LIMIT: Duration = Duration::from_secs(3);

/// More than any status line, in bytes.
const LINE_LIMIT: u64 = 256;

/// Where to ask. Only the address is read, so that a health check needs no secret.
#[derive(Debug, clap::Args)]
pub(super) struct HealthArgs {
    /// Ask here instead
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    #[arg(long, value_name = "VALUE", help = "Where the service listens [env: ALERTLOOP_LISTEN]")]
    listen: Option<String>,
    #[arg(
        long,
        value_name = "FILE",
        help = "Its certificate, if it has one [env: ALERTLOOP_TLS_CERT]"
    )]
    tls_cert: Option<String>,
    #[arg(long, value_name = "VALUE", help = "TOML file with settings [env: ALERTLOOP_CONFIG]")]
    config: Option<String>,
}

/// Exits with 0 when the answer is 200.
pub(super) async fn run(args: &HealthArgs) -> anyhow::Result<ExitCode> {
    let url = if let Some(url) = &args.url {
        url.clone()
    } else {
        let (listen, is_tls) = config::listen_address(&args.settings())?;
        livez(listen, is_tls)?
    };
    ask_within(LIMIT, &url).await?;
    Ok(ExitCode::SUCCESS)
}

impl HealthArgs {
    fn settings(&self) -> SettingsArgs {
        let given = [
            ("ALERTLOOP_LISTEN", &self.listen),
            ("ALERTLOOP_TLS_CERT", &self.tls_cert),
            ("ALERTLOOP_CONFIG", &self.config),
        ];
        let given = given.into_iter().filter_map(|(name, text)| Some((name, text.clone()?)));
        given.map(|(name, text)| (name.to_owned(), text)).collect()
    }
}

fn livez(listen: SocketAddr, is_tls: bool) -> anyhow::Result<Url> {
    base(listen, is_tls)?.join("livez").context("cannot build the address to ask at")
}

/// The address at which a service can be asked that listens at `listen`.
pub(super) fn base(listen: SocketAddr, is_tls: bool) -> anyhow::Result<Url> {
    ensure!(listen.port() != 0, "the service listens on a port of its own choice: use --url");
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, listen.port());
    let scheme = if is_tls { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{address}/")).context("cannot build the address to ask at")
}

async fn ask_within(limit: Duration, url: &Url) -> anyhow::Result<()> {
    let Ok(status) = timeout(limit, ask(url)).await else {
        bail!("no answer in {} s", limit.as_secs());
    };
    match status? {
        200 => Ok(()),
        status => bail!("the service answered {status}"),
    }
}

/// Sends one GET and gives the status of the answer.
async fn ask(url: &Url) -> anyhow::Result<u16> {
    if url.scheme() == "https" {
        return ask_with_tls(url).await;
    }
    ensure!(url.scheme() == "http", "only an http:// or https:// address can be asked");
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        bail!("the address has no host");
    };
    let mut stream =
        TcpStream::connect(format!("{host}:{port}")).await.context("cannot connect")?;
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: alertloop-health\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.context("cannot ask")?;
    status_of(stream).await.context("cannot read the answer")
}

/// The same with TLS.
async fn ask_with_tls(url: &Url) -> anyhow::Result<u16> {
    let builder = reqwest::Client::builder().no_proxy().redirect(Policy::none());
    let client = tls::trusting_this_machine(builder.user_agent("alertloop-health"), url);
    let client = client.build().context("cannot prepare a connection")?;
    let answer = client
        .get(url.clone())
        .send()
        .await
        .map_err(|fault| anyhow!(innermost(&fault)).context("cannot ask"))?;
    Ok(answer.status().as_u16())
}

/// Reads as far as the status: `HTTP/1.1 200`.
async fn status_of(stream: TcpStream) -> io::Result<u16> {
    let mut stream = stream.take(LINE_LIMIT);
    let mut line = Vec::new();
    while !line.contains(&b'\n') && stream.read_buf(&mut line).await? > 0 {}
    let line = String::from_utf8_lossy(&line);
    let mut words = line.split_ascii_whitespace();
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    let status = words.next().and_then(|status| status.parse().ok());
    status.filter(|_| is_http).ok_or_else(|| io::Error::other("it is not HTTP"))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn the_wildcard_address_is_asked_on_loopback() {
        for (listen, want) in [
            ("0.0.0.0:5000", Some("http://127.0.0.1:5000/livez")),
            ("[::]:5000", Some("http://[::1]:5000/livez")),
            ("10.1.2.3:80", Some("http://10.1.2.3/livez")),
            ("[fe80::1]:8080", Some("http://[fe80::1]:8080/livez")),
            ("0.0.0.0:0", None),
        ] {
            let url = livez(listen.parse().unwrap(), false).ok();
            assert_eq!(url.as_ref().map(Url::as_str), want, "{listen}");
        }
    }

    /// Answers one question with `parts`, each sent by itself, and gives the question.
    async fn asked(parts: &'static [&'static str]) -> (anyhow::Result<()>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = livez(listener.local_addr().unwrap(), false).unwrap();
        let service = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = Vec::new();
            while !question.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut question).await.unwrap();
            }
            for part in parts {
                stream.write_all(part.as_bytes()).await.unwrap();
            }
            String::from_utf8(question).unwrap()
        };
        tokio::join!(ask_within(LIMIT, &url), service)
    }

    #[tokio::test]
    async fn only_200_is_healthy() {
        for (parts, want) in [
            (&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"][..], None),
            (&["HTTP/1.1 2", "00 OK\r\n", "\r\n"], None),
            (&["HTTP/1.0 200\n"], None),
            (&["HTTP/1.1 503 Service Unavailable\r\n\r\n"], Some("the service answered 503")),
            (&["SSH-2.0-OpenSSH_9.2\r\n"], Some("cannot read the answer: it is not HTTP")),
            (&[], Some("cannot read the answer: it is not HTTP")),
        ] {
            let (outcome, question) = asked(parts).await;
            assert!(question.starts_with("GET /livez HTTP/1.1\r\nHost: 127.0.0.1:"), "{question}");
            assert_eq!(outcome.err().map(|fault| format!("{fault:#}")).as_deref(), want);
        }
    }

    #[tokio::test]
    async fn nobody_at_home_is_said_in_one_line() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = livez(listener.local_addr().unwrap(), false).unwrap();
        drop(listener);
        let fault = ask(&url).await.unwrap_err();
        let fault = format!("{fault:#}");
        assert!(fault.starts_with("cannot connect: ") && !fault.contains('\n'), "{fault}");
    }

    #[tokio::test]
    async fn a_service_that_does_not_answer_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = livez(listener.local_addr().unwrap(), false).unwrap();
        let fault = ask_within(Duration::from_millis(10), &url).await.unwrap_err();
        assert_eq!(fault.to_string(), "no answer in 0 s");
    }
}
