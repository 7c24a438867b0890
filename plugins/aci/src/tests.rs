//! Requests and answers, against an Azure that the test plays.

mod client;
mod examples;
mod groups;
mod operations;

use std::cell::RefCell;
use std::rc::Rc;

use vk_provider::testing::{self, Answer, Received};

use crate::{Account, Client, Cloud, Credential, Version};

/// An account that signs in like this.
pub(crate) fn account(credential: Credential) -> Account {
    Account {
        cloud: Cloud::public(),
        tenant: "tenant".to_owned(),
        subscription: "sub".to_owned(),
        credential,
        metadata: "http://169.254.169.254".to_owned(),
        resource_group: None,
        location: None,
        vnet: None,
    }
}

/// An application with its secret.
pub(crate) fn secret() -> Credential {
    Credential::Secret { client_id: "app".to_owned(), secret: "app/s3cret".into() }
}

/// What was asked: `METHOD PATH`.
pub(crate) type Asked = Rc<RefCell<Vec<Received>>>;

/// Plays Azure, and Entra if `answer` does not want to.
pub(crate) fn azure(mut answer: impl FnMut(&Received) -> Option<Answer> + 'static) -> Asked {
    testing::reset();
    let asked = Asked::default();
    let asks = asked.clone();
    let mut tokens = 0;
    testing::serve(move |received| {
        asks.borrow_mut().push(received.clone());
        answer(&received).unwrap_or_else(|| {
            tokens += 1;
            Answer::status(200).body(format!(r#"{{"access_token":"token-{tokens}","expires_in":3599}}"#))
        })
    });
    asked
}

/// Whether it is Azure's resource manager that is asked.
pub(crate) fn is_arm(received: &Received) -> bool {
    received.url.starts_with("https://management.azure.com/")
}

/// `METHOD PATH` of what the resource manager was asked, from the resource group's groups on.
pub(crate) fn asked_of_arm(asked: &Asked) -> Vec<String> {
    let path = |received: &Received| {
        let path = received.path();
        path.split_once("/containerGroups").map_or(path, |(_, rest)| rest).to_owned()
    };
    let asked = asked.borrow();
    asked.iter().filter(|it| is_arm(it)).map(|it| format!("{} {}", it.method, path(it))).collect()
}

/// A client, and a resource manager that answers so.
pub(crate) fn client(mut answer: impl FnMut(&Received) -> Answer + 'static) -> (Client, Asked) {
    let asked = azure(move |received| is_arm(received).then(|| answer(received)));
    (Client::new(account(secret()), "rg".to_owned(), Version::default(), None), asked)
}

/// A refusal as the resource manager writes it.
pub(crate) fn refused(status: u16, code: &str, message: &str) -> Answer {
    let body = serde_json::json!({"error": {"code": code, "message": message}});
    Answer::status(status).body(body.to_string())
}
