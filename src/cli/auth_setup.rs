//! `alertloop auth-setup`: e-mail sender accounts go into OpenSearch's keystore.

use std::{
    fs,
    io::{self, IsTerminal as _, Read as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, bail, ensure};

use self::args::Keys;
pub(super) use self::args::{AuthSetupArgs, EXAMPLES};
use super::{Misused, show};
use crate::{
    auth_setup::{
        self, MailLogin, Node,
        files::{self, Mail},
        keys::{self, Family, Listing},
        name::AccountName,
        tool::{Lock, Tool},
        unfit,
    },
    config::KeystoreSettings,
    opensearch::Client,
    secrets::{KeystorePassword, MailPassword},
};

mod args;
pub(super) mod ask;

/// What every action needs.
struct Session<'a> {
    args: &'a AuthSetupArgs,
    settings: KeystoreSettings,
    tool: Tool,
    client: Client,
    may_ask: bool,
}

pub(super) async fn run(args: &AuthSetupArgs) -> anyhow::Result<ExitCode> {
    let settings = KeystoreSettings::load(&args.store.settings())?;
    for warning in &settings.warnings {
        say(&format!("warning: {warning}"));
    }
    let command = args.keystore.keystore_command.as_deref();
    let tool = Tool::new(command, settings.home.as_deref()).map_err(Misused)?;
    let client = Client::new(&settings.store)?;
    let may_ask = !args.yes && io::stdin().is_terminal() && io::stderr().is_terminal();
    let session = Session { args, settings, tool, client, may_ask };
    if args.list {
        session.list().await?;
    } else if let Some(name) = &args.remove {
        session.remove(name).await?;
    } else {
        session.store().await?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Session<'_> {
    async fn list(&self) -> anyhow::Result<()> {
        let (_, names, _) = self.open().await?;
        show(self.args.output, &Listing(keys::accounts(&names)))
    }

    async fn remove(&self, name: &str) -> anyhow::Result<()> {
        if !self.args.yes && !self.may_ask {
            return Err(misused(
                "--remove takes an account away, and there is no terminal to ask on: say --yes",
            ));
        }
        self.expect_its_user()?;
        self.expect_that_it_can_be_read().await?;
        let (_, names, password) = self.open().await?;
        if self.may_ask {
            let question = format!("Remove the email account {name} from the keystore?");
            ensure!(ask::yes(&question)?, "nothing was removed");
        }
        let removed = auth_setup::remove(&self.tool, name, &names, password.as_ref()).await?;
        put(&format!("Email alert sender account variables removed: {}", removed.join(", ")))?;
        self.reload(password.as_ref()).await
    }

    async fn store(&self) -> anyhow::Result<()> {
        self.expect_enough_flags()?;
        self.expect_its_user()?;
        self.expect_that_it_can_be_read().await?;
        let account = &self.args.account;
        if self.may_ask && account.username.is_none() {
            let question = "Store username/password for email alert sender account?";
            if !ask::yes(question)? {
                return Ok(());
            }
        }
        let login = self.login()?;
        let name = match &account.name {
            Some(name) => name.clone(),
            None => ask::parsed("Email destination name", Some(AccountName::DEFAULT))?,
        };

        say("looking into the keystore ...");
        let families = self.families().await?;
        let (lock, names, password) = self.open().await?;
        let faults = [("username", login.username.as_str()), ("password", login.password.expose())]
            .into_iter()
            .filter_map(|(what, value)| unfit(what, value, lock == Lock::Password));
        if let Some(fault) = faults.into_iter().next() {
            return Err(misused(&fault));
        }
        self.expect_to_replace(&name, &names)?;
        let stored =
            auth_setup::store(&self.tool, &name, &login, &families, password.as_ref()).await?;
        put(&format!("Email alert sender account variables stored: {}", stored.join(", ")))?;
        for account in keys::accounts(&names).iter().filter(|other| !other.faults.is_empty()) {
            let faults = account.faults.join("; ");
            say(&format!("warning: the account {} in the keystore: {faults}", account.name));
        }
        self.reload(password.as_ref()).await?;
        self.offer_files(&name, &login.username)
            .context("the account is stored, but its provisioning files were not written")
    }

    /// Says before anything is done what is missing for doing it without a question.
    fn expect_enough_flags(&self) -> anyhow::Result<()> {
        let account = &self.args.account;
        let missing: Vec<&str> = [
            (!self.args.yes, "--yes"),
            (account.username.is_none(), "--username"),
            (!account.has_password(), "--password-file or --password-stdin"),
            (account.name.is_none(), "--name"),
        ]
        .into_iter()
        .filter_map(|(is_missing, flag)| is_missing.then_some(flag))
        .collect();
        if !self.may_ask && !missing.is_empty() {
            let missing = missing.join(", ");
            return Err(misused(&format!("there is nobody to ask: also say {missing}")));
        }
        let missing = self.args.mail.missing();
        if !missing.is_empty() {
            return Err(misused(&format!(
                "the provisioning files also need {}",
                missing.join(", ")
            )));
        }
        if self.args.mail.is_given() && self.settings.provisioning_dir.is_none() && !self.may_ask {
            return Err(misused("the provisioning files also need --provisioning-dir"));
        }
        if let Some(username) = &account.username
            && let Some(fault) = unfit("username", username, false)
        {
            return Err(misused(&fault));
        }
        Ok(())
    }

    /// The tool makes the keystore anew, as a file of whoever runs it, and OpenSearch never is root.
    fn expect_its_user(&self) -> anyhow::Result<()> {
        if self.args.keystore.keystore_command.is_none() && rustix::process::geteuid().is_root() {
            return Err(misused(
                "OpenSearch cannot read a keystore that root has written, and would not start; run this as its user, as in `sudo -u opensearch`, or say --keystore-command",
            ));
        }
        Ok(())
    }

    /// A node that runs would not know of the change; one that cannot be asked might run.
    async fn expect_that_it_can_be_read(&self) -> anyhow::Result<()> {
        let address = self.client.address();
        if self.args.keystore.offline {
            return Ok(());
        }
        match (auth_setup::node(&self.client).await, self.args.keystore.reload) {
            (Node::Answers, true) => Ok(()),
            (Node::Answers, false) => bail!(
                "OpenSearch answers at {address}, and a node that runs does not read its keystore; nothing was changed. Stop OpenSearch, or say --reload"
            ),
            (Node::Silent(why), true) => bail!(
                "OpenSearch does not answer at {address} ({why}), so it cannot be told to reload; nothing was changed. Correct OPENSEARCH_URL, or leave out --reload and restart OpenSearch"
            ),
            (Node::Silent(why), false) => {
                say(&format!(
                    "note: no OpenSearch answers at {address} ({why}), so it is taken to be stopped. One that runs elsewhere has to be restarted after this"
                ));
                Ok(())
            }
        }
    }

    fn login(&self) -> anyhow::Result<MailLogin> {
        let account = &self.args.account;
        let username = match &account.username {
            Some(username) => username.clone(),
            None => ask::line("Email account username", None)?,
        };
        let password = match (&account.password_file, account.password_stdin) {
            (Some(file), _) => secret_in(file)?,
            (None, true) => {
                let mut text = String::new();
                io::stdin().read_to_string(&mut text).context("cannot read the password")?;
                first_line(&text).to_owned()
            }
            (None, false) => ask::password_twice(&username)?,
        };
        Ok(MailLogin { username, password: MailPassword::from(password) })
    }

    /// The kinds of keys that OpenSearch knows: one that it does not know keeps it from starting.
    async fn families(&self) -> anyhow::Result<Vec<Family>> {
        match self.args.keystore.keys {
            Keys::Both => return Ok(Family::ALL.to_vec()),
            Keys::Alerting => return Ok(vec![Family::Alerting]),
            Keys::Notifications => return Ok(vec![Family::Notifications]),
            Keys::Auto => {}
        }
        let mut plugins = self.tool.plugins().await.ok().flatten();
        if plugins.is_none() && !self.args.keystore.offline {
            plugins = self.client.capabilities().await.ok().and_then(|can| can.plugins());
        }
        let Some(plugins) = plugins else {
            return Err(misused(
                "cannot tell which plugins this OpenSearch has, and a key of a plugin that it lacks keeps it from starting; nothing was changed. The ordinary distribution and Malcolm's have Alerting and Notifications: say --keys both, else --keys alerting or --keys notifications",
            ));
        };
        let families = Family::accepted_by(&plugins);
        ensure!(
            !families.is_empty(),
            "this OpenSearch has neither {} nor {}, so it sends no e-mail and would not start with its keys; nothing was changed",
            Family::Alerting.plugin(),
            Family::Notifications.plugin()
        );
        Ok(families)
    }

    /// The keystore's lock, the names in it, and what opens it.
    async fn open(&self) -> anyhow::Result<(Lock, Vec<String>, Option<KeystorePassword>)> {
        let (lock, names) = self.tool.look().await?;
        if lock != Lock::Password {
            return Ok((lock, names, None));
        }
        let text = match &self.args.keystore.keystore_password_file {
            Some(file) => secret_in(file)?,
            None if self.may_ask => ask::hidden("Keystore password: ")?,
            None => {
                return Err(misused(
                    "the keystore has a password: also say --keystore-password-file",
                ));
            }
        };
        let password = KeystorePassword::from(text);
        let names = self.tool.list(Some(&password)).await?;
        Ok((lock, names, Some(password)))
    }

    fn expect_to_replace(&self, name: &AccountName, names: &[String]) -> anyhow::Result<()> {
        let is_there = keys::accounts(names).iter().any(|account| account.name == name.as_str());
        if !is_there || self.args.account.force {
            return Ok(());
        }
        if self.may_ask {
            ensure!(
                ask::yes(&format!("{name} is stored already. Replace it?"))?,
                "nothing was changed"
            );
            return Ok(());
        }
        bail!("{name} is stored already, and nothing was changed; say --force to replace it")
    }

    async fn reload(&self, password: Option<&KeystorePassword>) -> anyhow::Result<()> {
        if !self.args.keystore.reload {
            return Ok(());
        }
        let nodes = auth_setup::reload(&self.client, password).await?;
        let names: Vec<&str> = nodes.iter().map(|node| node.node.as_str()).collect();
        put(&format!("Keystore read again by: {}", names.join(", ")))?;
        if nodes.len() > 1 {
            say("note: each node has a keystore of its own: do this on every node");
        }
        Ok(())
    }

    fn offer_files(&self, name: &AccountName, username: &str) -> anyhow::Result<()> {
        let given = &self.args.mail;
        let mail = match given.mail() {
            Some(mail) => mail,
            None if self.may_ask
                && ask::yes(
                    "Write its sender account and e-mail channel as provisioning files?",
                )? =>
            {
                ask::mail(username)?
            }
            None => return Ok(()),
        };
        let folder = match &self.settings.provisioning_dir {
            Some(folder) => folder.clone(),
            None => ask::line("Folder", Some("provisioning"))?.into(),
        };
        write_files(&folder, name, &mail, given.overwrite)
    }
}

fn write_files(
    folder: &Path,
    name: &AccountName,
    mail: &Mail,
    overwrite: bool,
) -> anyhow::Result<()> {
    for path in files::write(folder, &files::documents(name, mail), overwrite)? {
        put(&format!("Written: {}", path.display()))?;
    }
    if let Some(caution) = mail.method.caution() {
        say(&format!("note: {caution}"));
    }
    Ok(())
}

/// The one line of a file that holds a secret.
fn secret_in(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(first_line(&text).to_owned())
}

/// The text without the line break that an editor or `echo` adds; one inside stays, and is refused.
fn first_line(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

fn misused(what: &str) -> anyhow::Error {
    Misused(what.to_owned()).into()
}

fn put(what: &str) -> anyhow::Result<()> {
    super::put(io::stdout().lock(), what).context("cannot print")
}

fn say(what: &str) {
    super::put(io::stderr().lock(), what).ok();
}
