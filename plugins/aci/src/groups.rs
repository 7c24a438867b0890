//! What is done with container groups.

use serde::Deserialize;
use serde_json::Value;
use vk_provider::http::{Request, encode};

use crate::client::{Client, Does};
use crate::failure::{Failure, Result, absent};
use crate::group::{Group, ProvisioningState, Tags, or_default, tags};
use crate::operation::Operation;
use crate::secrets::Secrets;

/// So much of an answer is taken of one group.
const MOST: usize = 4 << 20;
/// A log has 4 MiB at most, of which JSON makes six times as much if it is control characters alone.
const LOG: usize = 25 << 20;

/// A group that was taken. It is made from here on.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// As Azure took it, without its secrets.
    pub group: Group,
    /// How far it is; none: the group itself tells.
    pub operation: Option<Operation>,
}

/// What is read of a group in a list. The rest of it may be anybody's: what is odd in one must not hide the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Its name in its resource group.
    pub name: Option<String>,
    /// For whoever looks.
    #[serde(deserialize_with = "tags")]
    pub tags: Tags,
    /// How far it is.
    #[serde(deserialize_with = "or_default")]
    pub properties: Provisioning,
}

/// How far a group of a list is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Provisioning {
    /// As in [`Properties`](crate::group::Properties).
    pub provisioning_state: Option<ProvisioningState>,
}

/// A page of groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Everybody's, as far as they can be read.
    pub groups: Vec<Summary>,
    /// For the next page; none: there is no more.
    pub next: Option<String>,
}

/// What comes of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is not there.
    Gone,
    /// It ends from here on. none: the group itself tells.
    Accepted(Option<Operation>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    /// Each is read by itself.
    value: Vec<Value>,
    #[serde(default)]
    next_link: Option<String>,
}

#[derive(Deserialize)]
struct Logs {
    #[serde(default)]
    content: Option<String>,
}

impl Client {
    fn of(&self, method: &str, group: &str, rest: &str) -> Request {
        self.request(method, &self.groups_url(&format!("/{}{rest}", encode(group))))
    }

    /// Makes a group, or changes one, which starts its containers again.
    ///
    /// # Errors
    /// The version of the API lacks a field of it, there was no answer, or Azure said no.
    pub fn put_group(&self, name: &str, group: &Group) -> Result<Accepted> {
        if let Some(lack) = self.version().lacks(group) {
            return Err(Failure::Lacking(lack));
        }
        let request = self.of("PUT", name, "").json(group);
        let response = self.send_hiding(Does::Write, &request, || Secrets::of_group(group))?;
        let operation = Operation::of(&response.headers, self);
        let body = self.bytes(response, MOST)?;
        // A 202 may come without one.
        let group = if body.is_empty() { Group::default() } else { self.parsed(&request, &body)? };
        Ok(Accepted { group, operation })
    }

    /// A group with its instance view; none: it is surely not there.
    ///
    /// # Errors
    /// There was no answer, or Azure said no.
    pub fn get_group(&self, name: &str) -> Result<Option<Group>> {
        absent(self.read(Does::Read, &self.of("GET", name, "")))
    }

    /// A page of the resource group's groups, after the one whose `next` this is.
    ///
    /// # Errors
    /// There was no answer, Azure said no, or the page would be elsewhere.
    pub fn list_groups(&self, next: Option<&str>) -> Result<Listed> {
        let request = match next {
            Some(url) => Request::get(url),
            None => self.request("GET", &self.groups_url("")),
        };
        if let Some(url) = next {
            self.trusted(url).map_err(|why| self.broken(&request, why))?;
        }
        let Page { value, next_link } = self.read(Does::Read, &request)?;
        let following = next_link.filter(|link| !link.is_empty());
        if following.is_some() && following.as_deref() == next {
            return Err(self.broken(&request, "the next page is this page".to_owned()));
        }
        // One that cannot be read so far has no tags that say whose it is.
        let groups = value.into_iter().filter_map(|group| serde_json::from_value(group).ok()).collect();
        Ok(Listed { groups, next: following })
    }

    /// Removes a group.
    ///
    /// # Errors
    /// There was no answer, or Azure said no.
    pub fn delete_group(&self, name: &str) -> Result<Removal> {
        let response = absent(self.send(Does::Act, &self.of("DELETE", name, "")))?;
        Ok(match response {
            None => Removal::Gone,
            Some(response) if response.status == 204 => Removal::Gone,
            Some(response) => Removal::Accepted(Operation::of(&response.headers, self)),
        })
    }

    /// Ends all containers of a group, which keeps its name and costs nothing any more.
    ///
    /// # Errors
    /// It is not there, there was no answer, or Azure said no.
    pub fn stop_group(&self, name: &str) -> Result<Option<Operation>> {
        let response = self.send(Does::Act, &self.of("POST", name, "/stop"))?;
        Ok(Operation::of(&response.headers, self))
    }

    /// What a container wrote, both streams in one; `tail`: the last lines of it, none: all, 4 MiB at most.
    /// `timestamps`: each line begins with its time.
    ///
    /// # Errors
    /// It has no log yet (`ContainerLogNotAvailable`), it is not there, there was no answer, or Azure said no.
    pub fn logs(&self, group: &str, container: &str, tail: Option<u32>, timestamps: bool) -> Result<String> {
        let mut request = self.of("GET", group, &format!("/containers/{}/logs", encode(container)));
        if let Some(tail) = tail {
            request = request.query("tail", tail.to_string());
        }
        if timestamps {
            request = request.query("timestamps", "true");
        }
        let body = self.bytes(self.send(Does::Read, &request)?, LOG)?;
        Ok(self.parsed::<Logs>(&request, &body)?.content.unwrap_or_default())
    }
}
