//! An API server in a world, and the objects written to it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::programs::Programs;
use crate::shape::Shape;
use crate::terms::Family;
use crate::world::World;
use crate::{objects, plan};

/// How long the server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(20);
/// Services that are written at a time.
const AT_ONCE: usize = 16;

/// The kubeconfig of a world's API server.
pub(crate) fn kubeconfig(world: &World) -> PathBuf {
    world.folder().join("kubeconfig")
}

/// Starts the API server behind the gateway and waits until it answers.
pub(crate) fn start(world: &mut World, programs: &Programs) -> Result<()> {
    let folder = world.folder().join("server");
    let (folder, address) =
        (folder.display().to_string(), plan::host(plan::GATEWAY, Family::V4).to_string());
    let gateway = world.place("gateway");
    let url = format!("https://{address}:6443");
    let first = first_address();
    let words =
        ["kubeconfig", "--data-dir", &folder, "--server", &url, "--service-address", &first];
    let mut command = gateway.command(&programs.skep, &words);
    let output =
        command.args(["--advertise-address", &address]).stderr(Stdio::inherit()).output()?;
    anyhow::ensure!(output.status.success(), "`skep kubeconfig` failed");
    std::fs::write(kubeconfig(world), output.stdout)?;
    let range = Family::ALL.map(plan::service_range).join(",");
    let words = ["apiserver", "--data-dir", &folder, "--advertise-address", &address];
    let mut command = gateway.command(&programs.skep, &words);
    command.args(["--service-cluster-ip-range", &range]);
    world.start("apiserver", command)?;
    with_client(world, async |client| {
        let start = Instant::now();
        loop {
            match client.apiserver_version().await {
                Ok(_) => return Ok(()),
                Err(error) if start.elapsed() > PATIENCE => bail!("no API server: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    })
    .with_context(|| world.tail("apiserver"))
}

/// The address of the API server's own Service.
fn first_address() -> String {
    let (network, _) = plan::service_range(Family::V4).split_once('/').expect("a range");
    network.replace(".0.0", ".0.1")
}

/// Runs `work` with a client, from the gateway.
fn with_client<T: Send>(
    world: &World,
    work: impl AsyncFnOnce(Client) -> Result<T> + Send,
) -> Result<T> {
    let file = kubeconfig(world);
    world.inside("gateway", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let file = Kubeconfig::read_from(&file)?;
            let config =
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
            work(Client::try_from(config)?).await
        })
    })
}

/// Writes both Nodes.
pub(crate) fn write_nodes(world: &World) -> Result<()> {
    with_client(world, async |client| {
        let api: Api<Node> = Api::all(client);
        for number in [1, 2] {
            let (node, status) = objects::node(number);
            let name = format!("node{number}");
            api.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
            let patch = Patch::Merge(status);
            api.patch_status(&name, &PatchParams::default(), &patch).await?;
        }
        Ok(())
    })
}

/// Writes the Services, whose numbers are their places, and their endpoints. The last one is written after
/// all others: a proxy that serves it knows them.
pub(crate) fn write_services(world: &World, shapes: &[Shape]) -> Result<()> {
    let mut written: Vec<Objects> = Vec::new();
    for (number, shape) in (0_u16..).zip(shapes) {
        let slice = |&family: &Family| {
            let address_of =
                |spot| world.endpoint(spot, family).expect("every endpoint has both families");
            objects::slice(number, shape, family, address_of)
        };
        written.push(Objects {
            name: objects::name(number),
            service: objects::service(number, shape),
            status: objects::service_status(number, shape),
            slices: shape.families.iter().map(slice).collect(),
        });
    }
    with_client(world, async |client| {
        let last = written.pop();
        let mut writes = JoinSet::new();
        for objects in written {
            if writes.len() == AT_ONCE {
                writes.join_next().await.context("one is there")???;
            }
            writes.spawn(objects.write(client.clone()));
        }
        while let Some(outcome) = writes.join_next().await {
            outcome??;
        }
        match last {
            Some(objects) => objects.write(client).await,
            None => Ok(()),
        }
    })
}

/// A Service as it is written.
struct Objects {
    name: String,
    service: Value,
    status: Value,
    slices: Vec<Value>,
}

impl Objects {
    async fn write(self, client: Client) -> Result<()> {
        let Self { name, service, status, slices: own } = self;
        let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
        let services: Api<Service> = Api::default_namespaced(client);
        let named = || format!("{name}: {service}");
        for slice in own {
            let slice = serde_json::from_value(slice)?;
            slices.create(&PostParams::default(), &slice).await.with_context(named)?;
        }
        let object = serde_json::from_value(service.clone())?;
        services.create(&PostParams::default(), &object).await.with_context(named)?;
        let status = Patch::Merge(status);
        let parameters = PatchParams::default();
        services.patch_status(&name, &parameters, &status).await.with_context(named)?;
        Ok(())
    }
}
