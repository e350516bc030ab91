//! Resources that the configuration refers to.

use flows::DatabaseUrl;

use crate::config::{Config, Environment, MasterKeys};
use crate::post::Mailer;
use crate::problem::StartupProblem;
use crate::tls::Certificate;

/// Resources that the configuration refers to, loaded and checked.
#[derive(Debug)]
pub struct Provisions {
    pub database: DatabaseUrl,
    pub master_keys: MasterKeys,
    pub certificate: Option<Certificate>,
    pub post: Option<Mailer>,
}

impl Provisions {
    /// Loads the resources, for `config check` and for serving. Collects all problems instead of stopping at the first.
    pub fn fetch(config: &Config, environment: Environment<'_>) -> Result<Self, Vec<StartupProblem>> {
        let mut problems = Vec::new();
        let database = config.database(environment).map_err(|problem| problems.push(problem));
        let master_keys = config.master_keys(environment).map_err(|several| problems.extend(several));
        let certificate =
            config.tls().cloned().map(Certificate::load).transpose().map_err(|problem| problems.push(problem));
        let post = config.mail.as_ref().map(|mail| Mailer::new(mail, mail.login(environment)?)).transpose();
        let post = post.map_err(|problem| problems.push(problem));
        match (database, master_keys, certificate, post) {
            (Ok(database), Ok(master_keys), Ok(certificate), Ok(post)) => {
                Ok(Self { database, master_keys, certificate, post })
            }
            _ => Err(problems),
        }
    }
}
