//! One pod as the provider writes it for an engine: names, labels, bodies of requests, and the archive that fills its volumes.

use anyhow::Result;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::super::{COMMAND, CONTAINER, Content};

/// Where the sandbox has the volumes.
pub(super) const ROOT: &str = "/vols";
/// What the admission of an API server calls the token's volume.
const TOKEN: &str = "kube-api-access-00000";
/// What the files of that volume hold, about: a certificate, a signed token and a namespace.
const FILES: [(&str, usize); 3] = [("ca.crt", 1100), ("token", 1000), ("namespace", 5)];

/// The last of all files.
pub(super) const MARKER: &str = ".filled-0";
/// This and the next are as long as real ones.
const CLUSTER: &str = "00000000-0000-4000-8000-000000000000";
const REVISION: &str = "1-0000000000000000000000000000000000000000";
/// What a pod is told of the API server.
const ENVIRONMENT: [&str; 7] = [
    "KUBERNETES_SERVICE_HOST=10.0.0.1",
    "KUBERNETES_SERVICE_PORT=443",
    "KUBERNETES_SERVICE_PORT_HTTPS=443",
    "KUBERNETES_PORT=tcp://10.0.0.1:443",
    "KUBERNETES_PORT_443_TCP=tcp://10.0.0.1:443",
    "KUBERNETES_PORT_443_TCP_PROTO=tcp",
    "KUBERNETES_PORT_443_TCP_PORT=443",
];

/// A pod.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) uid: String,
    name: String,
    node: String,
    content: Content,
}

/// A volume as the engine makes it.
pub(super) struct Volume {
    pub(super) spec: Value,
    bind: String,
}

impl Pod {
    pub(super) fn new(node: &str, index: usize, content: Content) -> Self {
        let uid = format!("{:08x}-0000-4000-8000-{index:012x}", std::process::id());
        Self { uid, name: format!("{node}-{index}"), node: node.to_owned(), content }
    }

    fn container_name(&self, container: &str) -> String {
        format!("k8s_{container}_{}_bench_{}_0", self.name, self.uid)
    }

    /// The engine's name for the sandbox.
    pub(super) fn sandbox_name(&self) -> String {
        self.container_name("POD")
    }

    /// The engine's name for the container.
    pub(super) fn main_name(&self) -> String {
        self.container_name(CONTAINER)
    }

    /// The engine's name for the pod's own volume.
    pub(super) fn own_volume(&self) -> String {
        format!("k8s_pod_{}", self.uid)
    }

    fn labels(&self, kind: &str, own: Value) -> Value {
        let mut labels = json!({
            "io.kubernetes.pod.namespace": "bench", "io.kubernetes.pod.name": self.name, "io.kubernetes.pod.uid": self.uid,
            "io.virtual-kubelet.node": self.node, "io.virtual-kubelet.cluster": CLUSTER, "io.virtual-kubelet.kind": kind,
        });
        if let (Some(labels), Value::Object(own)) = (labels.as_object_mut(), own) {
            labels.extend(own);
        }
        labels
    }

    /// Finds all that is the pod's in a list.
    pub(super) fn filter(&self) -> String {
        let labels = [
            format!("io.virtual-kubelet.node={}", self.node),
            format!("io.virtual-kubelet.cluster={CLUSTER}"),
            format!("io.kubernetes.pod.uid={}", self.uid),
        ];
        json!({"label": labels}).to_string()
    }

    /// The volumes, each with where the sandbox mounts it.
    pub(super) fn volumes(&self) -> Vec<Volume> {
        let volume = |name: String, volume: &str, options: Value| Volume {
            bind: format!("{name}:{ROOT}/{volume}:nocopy"),
            spec: json!({
                "Name": name, "DriverOpts": options, "Labels": self.labels("volume", json!({"io.virtual-kubelet.volume": volume})),
            }),
        };
        let mut volumes = vec![volume(self.own_volume(), "_pod", json!({}))];
        if self.content == Content::Token {
            volumes.push(volume(self.token_volume(), TOKEN, json!({"type": "tmpfs", "device": "tmpfs"})));
        }
        volumes
    }

    fn token_volume(&self) -> String {
        format!("k8s_vol_{}_{TOKEN}", self.uid)
    }

    /// What holds the pod together.
    pub(super) fn sandbox(&self, image: &str) -> Value {
        let own = json!({"io.virtual-kubelet.attempt": "0", "io.virtual-kubelet.revision": REVISION});
        json!({
            "Image": image, "Entrypoint": ["/vk-pause"], "User": "0:0", "Labels": self.labels("sandbox", own), "Hostname": self.name,
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {
                "NetworkMode": "bridge", "IpcMode": "shareable", "RestartPolicy": {"Name": "no"},
                "Binds": self.volumes().into_iter().map(|volume| volume.bind).collect::<Vec<_>>(),
                "SecurityOpt": ["no-new-privileges"],
            },
        })
    }

    /// The container, in its sandbox. `own`: where the pod's own volume is on the engine's machine.
    pub(super) fn main(&self, image: &str, image_id: &str, sandbox: &str, own: &str) -> Value {
        let labels = json!({
            "io.kubernetes.container.name": CONTAINER, "io.virtual-kubelet.attempt": "0", "io.virtual-kubelet.revision": REVISION,
            "io.virtual-kubelet.image": image, "io.virtual-kubelet.image-id": image_id, "io.virtual-kubelet.sandbox": sandbox,
        });
        let joined = format!("container:{sandbox}");
        let token = (self.content == Content::Token)
            .then(|| format!("{}:/var/run/secrets/kubernetes.io/serviceaccount:ro,nocopy", self.token_volume()));
        json!({
            "Image": image_id, "Entrypoint": COMMAND, "Env": ENVIRONMENT, "Labels": self.labels("container", labels),
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": {
                "NetworkMode": joined, "IpcMode": joined, "CpuShares": 2, "OomScoreAdj": 1000, "RestartPolicy": {"Name": "no"},
                "Binds": Vec::from_iter(token),
                "Mounts": [{
                    "Type": "bind", "Source": format!("{own}/termination/{CONTAINER}.0"), "Target": "/dev/termination-log",
                    "ReadOnly": false,
                }],
                "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "5"}},
            },
        })
    }

    /// What fills the volumes, a marker last.
    pub(super) fn archive(&self) -> Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        if self.content == Content::Token {
            put(&mut tar, TOKEN, EntryType::Directory, 0o777, 0)?;
            put(&mut tar, &format!("{TOKEN}/..0"), EntryType::Directory, 0o755, 0)?;
            for (name, size) in FILES {
                put(&mut tar, &format!("{TOKEN}/..0/{name}"), EntryType::Regular, 0o644, size)?;
            }
            for (name, _) in FILES {
                link(&mut tar, &format!("{TOKEN}/{name}"), &format!("..data/{name}"))?;
            }
            link(&mut tar, &format!("{TOKEN}/..data"), "..0")?;
        }
        put(&mut tar, "_pod/termination", EntryType::Directory, 0o755, 0)?;
        put(&mut tar, &format!("_pod/termination/{CONTAINER}.0"), EntryType::Regular, 0o666, 0)?;
        put(&mut tar, MARKER, EntryType::Regular, 0o444, 0)?;
        Ok(tar.into_inner()?)
    }
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header
}

fn put(tar: &mut Builder<Vec<u8>>, path: &str, kind: EntryType, mode: u32, size: usize) -> Result<()> {
    Ok(tar.append_data(&mut header(kind, mode, u64::try_from(size)?), path, vec![b'x'; size].as_slice())?)
}

fn link(tar: &mut Builder<Vec<u8>>, path: &str, target: &str) -> Result<()> {
    Ok(tar.append_link(&mut header(EntryType::Symlink, 0o777, 0), path, target)?)
}
