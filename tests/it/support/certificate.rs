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

/// rustls takes no authority's certificate for a server's own.
pub const OF_NO_AUTHORITY: [&str; 2] = ["-addext", "basicConstraints=critical,CA:FALSE"];
