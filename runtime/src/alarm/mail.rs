//! A sink that is a mail.

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as Encryption, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use serde::Deserialize;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::webhook::is_loopback;
use super::{Alarm, Error};
use crate::secret::Secret;
use crate::store::full_text;

/// `smtp = { server = "…", from = "…", to = ["…"] }`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The mail server's name.
    pub server: String,
    /// Default: that of the kind of TLS, 587, 465 or 25.
    pub port: Option<u16>,
    /// How the connection is encrypted.
    #[serde(default)]
    pub tls: Tls,
    /// The sender.
    pub from: String,
    /// The receivers.
    pub to: Vec<String>,
    /// A user, with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
}

/// How the connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// From the first command on that is worth it; refused if the server cannot.
    #[default]
    Starttls,
    /// From the first byte on.
    Implicit,
    /// Not at all: for a relay on this machine.
    Off,
}

/// A mail server and who gets what.
pub struct Mail {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mail {
    /// Reads the settings; connects when there is something to say.
    pub fn new(config: &Config) -> Result<Self, String> {
        let address = |text: &String| text.parse::<Mailbox>().map_err(|e| format!("smtp: {text}: {e}"));
        if config.to.is_empty() {
            return Err("smtp.to: name a receiver".into());
        }
        let parameters =
            || TlsParameters::new(config.server.clone()).map_err(|e| format!("smtp.tls: {}", full_text(&e)));
        let (port, tls) = match config.tls {
            Tls::Starttls => (587, Encryption::Required(parameters()?)),
            Tls::Implicit => (465, Encryption::Wrapper(parameters()?)),
            Tls::Off => (25, Encryption::None),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.server)
            .port(config.port.unwrap_or(port))
            .tls(tls);
        match (&config.user, &config.password) {
            (None, None) => {}
            (Some(_), Some(_)) if config.tls == Tls::Off && !is_loopback(&config.server) => {
                return Err("smtp.password: it would leave this machine unencrypted: set tls".into());
            }
            (Some(user), Some(password)) => {
                let password = password.reveal().map_err(|e| format!("smtp.password: {e}"))?;
                builder = builder.credentials(Credentials::new(user.clone(), password));
            }
            _ => return Err("smtp.user and password belong together: give both or neither".into()),
        }
        let to = config.to.iter().map(address).collect::<Result<_, _>>()?;
        Ok(Self { transport: builder.build(), from: address(&config.from)?, to })
    }

    /// Sends it once.
    pub async fn send(&self, alarm: &Alarm) -> Result<(), Error> {
        let mut builder = Message::builder()
            .from(self.from.clone())
            .message_id(Some(format!("<{}@{}>", Uuid::now_v7(), self.from.email.domain())))
            .subject(format!("[avouch] {} {}", alarm.kind.name(), alarm.subject))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        let mail = builder.body(body(alarm)).map_err(|e| Error::Refused(full_text(&e)))?;
        match self.transport.send(mail).await {
            Ok(_) => Ok(()),
            Err(e) if e.is_permanent() => Err(Error::Refused(full_text(&e))),
            Err(e) => Err(Error::Retry(full_text(&e))),
        }
    }
}

fn body(alarm: &Alarm) -> String {
    let Alarm { what, why, source, subject, id, remedy, count, instance, .. } = alarm;
    let [since, at] = [alarm.since, alarm.at].map(|time| time.format(&Rfc3339).unwrap_or_default());
    let reference = alarm.reference.as_deref().unwrap_or("none");
    format!(
        "{what}\n\nwhy       {why}\nremedy    {remedy}\n\nsubject   {subject}\nsource    {source}\nid        {id}\n\
         ref       {reference}\ncount     {count}\nsince     {since}\nat        {at}\ninstance  {instance}\n"
    )
}
