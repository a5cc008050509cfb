//! The demo's plot: apply, load, rolling update, undo.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::bail;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::sleep;

use crate::verbs::rollout::{Progress, progress, undo};

use super::DemoArgs;
use super::pods::Pods;
use super::report::{Outcome, Rollout};
use super::scene::Scene;
use super::screen::Screen;
use super::target;
use super::traffic::Traffic;

const MANIFEST: &str = include_str!("../../../../examples/nginx-deployment.yaml");
const NAME: &str = "nginx-deployment";
const SELECTOR: &str = "app=nginx";

/// Time between two looks at the cluster.
const TICK: Duration = Duration::from_millis(100);
/// How long each version is shown under load before the next change.
const STEADY: Duration = Duration::from_secs(3);

/// Tells the story on `screen` and returns what came of it.
///
/// # Errors
/// When a step does not succeed.
pub async fn tell(args: &DemoArgs, client: &Client, screen: &mut Screen) -> anyhow::Result<Outcome> {
    if args.from == args.to {
        bail!("--from and --to name the same image: there would be nothing to update");
    }
    let deployments = Api::default_namespaced(client.clone());
    let original = BTreeSet::new();
    let mut story = Story {
        args,
        client,
        deployments,
        screen,
        traffic: None,
        original,
    };
    let address = story.begin().await?;
    story.load(address)?;
    story.steady(&args.from).await?;
    let update = story.update().await?;
    story.steady(&args.to).await?;
    let back = story.undo().await?;
    story.steady(&args.from).await?;
    let Some(traffic) = story.traffic.take() else {
        bail!("there was no traffic")
    };
    Ok(Outcome {
        tally: traffic.finish().await?,
        rollouts: vec![update, back],
        versions: [args.from.clone(), args.to.clone()],
        min_ready_seconds: args.min_ready_seconds,
    })
}

/// The walkthrough's Deployment with the number of pods, the image and the pace asked for.
fn deployment(args: &DemoArgs) -> anyhow::Result<Deployment> {
    let mut deployment: Deployment = serde_yaml::from_str(MANIFEST)?;
    if let Some(spec) = &mut deployment.spec {
        spec.replicas = Some(args.replicas.into());
        spec.min_ready_seconds = (args.min_ready_seconds > 0).then(|| args.min_ready_seconds.into());
        for container in spec.template.spec.iter_mut().flat_map(|pod| &mut pod.containers) {
            container.image = Some(args.from.clone());
        }
    }
    Ok(deployment)
}

struct Story<'a> {
    args: &'a DemoArgs,
    client: &'a Client,
    deployments: Api<Deployment>,
    screen: &'a mut Screen,
    traffic: Option<Traffic>,
    /// The version that was there first.
    original: BTreeSet<String>,
}

impl Story<'_> {
    /// Applies the manifests and waits until the Service answers; returns its address.
    async fn begin(&mut self) -> anyhow::Result<SocketAddr> {
        self.deployments
            .create(&PostParams::default(), &deployment(self.args)?)
            .await?;
        self.screen.say(&format!(
            "kubectl apply -f nginx-deployment.yaml: deployment.apps/{NAME} created"
        ));
        let service = target::create(self.client).await?;
        self.screen
            .say("kubectl apply -f nginx-service.yaml: service/nginx created");
        self.roll(format!("Starting {}", self.args.from), &BTreeSet::new())
            .await?;
        self.original = self.versions().await?;
        let address = target::address(self.client, &service).await?;
        let server = target::answers(address).await;
        self.screen
            .say(&format!("http://{address}/ is answered by {server}"));
        Ok(address)
    }

    /// Puts load on the Service.
    fn load(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let traffic = Traffic::start(address, self.args)?;
        let who = if traffic.has_wrk() {
            "wrk and our strict client"
        } else {
            "our strict client (wrk is not installed)"
        };
        self.screen.say(&format!(
            "Load: {who}, {} connections each",
            self.args.connections
        ));
        self.traffic = Some(traffic);
        Ok(())
    }

    /// Changes the image and shows the rolling update.
    async fn update(&mut self) -> anyhow::Result<Rollout> {
        let before = self.versions().await?;
        let container = json!({"name": "nginx", "image": self.args.to});
        let image = json!({"spec": {"template": {"spec": {"containers": [container]}}}});
        self.deployments
            .patch(NAME, &PatchParams::default(), &Patch::Strategic(image))
            .await?;
        self.screen.say(&format!(
            "kubectl set image deployment/{NAME} nginx={}",
            self.args.to
        ));
        self.roll(format!("Rolling update to {}", self.args.to), &before)
            .await
    }

    /// Goes back to the first image and shows the rolling update.
    async fn undo(&mut self) -> anyhow::Result<Rollout> {
        let before = self.versions().await?;
        let said = undo(self.client, &self.deployments, NAME, None).await?;
        self.screen
            .say(&format!("kubectl rollout undo deployment/{NAME}: {said}"));
        self.roll(format!("Rolling back to {}", self.args.from), &before)
            .await
    }

    /// The versions that there are pods of.
    async fn versions(&self) -> anyhow::Result<BTreeSet<String>> {
        Ok(Pods::fetch(self.client, SELECTOR).await?.hashes())
    }

    /// Shows a rollout until it is complete and the pods of the versions `before` are gone.
    async fn roll(&mut self, name: String, before: &BTreeSet<String>) -> anyhow::Result<Rollout> {
        let start = Instant::now();
        let mut took = None;
        loop {
            let pods = self.look(&name, start, before).await?;
            match progress(&self.deployments.get(NAME).await?) {
                Progress::Failed(reason) => bail!(reason),
                Progress::Complete(_) if took.is_none() => took = Some(start.elapsed()),
                _ => {}
            }
            if let Some(took) = took
                && !pods.has_any_of(before)
            {
                return Ok(Rollout { name, took });
            }
            sleep(TICK).await;
        }
    }

    /// Shows the traffic to one version for a while.
    async fn steady(&mut self, image: &str) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < STEADY {
            self.look(&format!("Under load: {image}"), start, &BTreeSet::new())
                .await?;
            sleep(TICK).await;
        }
        Ok(())
    }

    /// Looks at the cluster and shows what is there; pods of the versions `before` do not count.
    async fn look(&mut self, step: &str, start: Instant, before: &BTreeSet<String>) -> anyhow::Result<Pods> {
        let pods = Pods::fetch(self.client, SELECTOR).await?;
        self.screen.show(&Scene {
            step: step.to_owned(),
            elapsed: start.elapsed(),
            done: pods.new_ready(before),
            total: self.args.replicas.into(),
            pods: pods.clone(),
            original: self.original.clone(),
            flow: self.traffic.as_ref().map(Traffic::flow),
        });
        Ok(pods)
    }
}
