use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Makes a certificate of this name for 127.0.0.1 that signs itself, with its key, by `openssl req`
/// with these words besides.
pub fn certificate(folder: &Path, name: &str, more: &[&str]) -> Result<(PathBuf, PathBuf), String> {
    let file = |end: &str| folder.join(format!("{name}.{end}"));
    let (certificate, key) = (file("crt"), file("key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(more)
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .stderr(Stdio::null())
        .status();
    if !made.is_ok_and(|status| status.success()) {
        return Err("openssl makes no certificate: apt-get install openssl".to_owned());
    }
    Ok((certificate, key))
}

/// The same, but it ran out yesterday; signed by the CA in the folder `authority`, `ca.pem` and
/// `ca.key`, or by itself.
pub fn expired_certificate(
    folder: &Path,
    name: &str,
    authority: Option<&Path>,
) -> Result<(PathBuf, PathBuf), String> {
    let file = |end: &str| folder.join(format!("{name}.{end}"));
    let (certificate, key, request) = (file("crt"), file("key"), file("csr"));
    let extensions = file("ext");
    let text = "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n";
    std::fs::write(&extensions, text).map_err(|fault| fault.to_string())?;
    let subject = format!("/CN={name}");
    let mut ask = Command::new("openssl");
    ask.args(["req", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-out"]).arg(&request);
    ask.arg("-keyout").arg(&key);
    let mut sign = Command::new("openssl");
    sign.args(["x509", "-req", "-days", "-1", "-in"]).arg(&request).arg("-extfile");
    sign.arg(&extensions).arg("-out").arg(&certificate);
    match authority {
        Some(folder) => {
            sign.arg("-CA").arg(folder.join("ca.pem")).arg("-CAkey").arg(folder.join("ca.key"));
            sign.arg("-set_serial").arg("1");
        }
        None => _ = sign.arg("-signkey").arg(&key),
    }
    for mut command in [ask, sign] {
        let made = command.stderr(Stdio::null()).status();
        if !made.is_ok_and(|status| status.success()) {
            return Err("openssl makes no certificate: apt-get install openssl".to_owned());
        }
    }
    Ok((certificate, key))
}

/// Several of them, that no authority has.
pub fn certificates<const N: usize>(
    folder: &Path,
    names: [&str; N],
) -> Result<[(PathBuf, PathBuf); N], String> {
    let made = names.iter().map(|name| certificate(folder, name, &OF_NO_AUTHORITY));
    let made: Vec<_> = made.collect::<Result<_, _>>()?;
    Ok(made.try_into().expect("one for each name"))
}

/// rustls takes no authority's certificate for a server's own.
pub const OF_NO_AUTHORITY: [&str; 2] = ["-addext", "basicConstraints=critical,CA:FALSE"];
