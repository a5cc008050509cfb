//! The demo's plot: apply, load, rolling update, undo.

use std::collections::BTreeSet;
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
    let mut story = Story {
        args,
        client,
        deployments: Api::default_namespaced(client.clone()),
        screen,
        traffic: None,
    };
    story
        .deployments
        .create(&PostParams::default(), &deployment(args)?)
        .await?;
    story
        .screen
        .say("kubectl apply -f nginx-deployment.yaml: deployment.apps/nginx-deployment created");
    let service = target::create(client).await?;
    story
        .screen
        .say("kubectl apply -f nginx-service.yaml: service/nginx created");
    let first = story.roll(&format!("Starting {}", args.from)).await?;
    let address = target::address(client, &service).await?;
    let server = target::answers(address).await;
    story.screen.say(&format!(
        "http://{address}/ answers ({server}) after {:.2} s",
        first.as_secs_f64()
    ));

    let traffic = Traffic::start(address, args)?;
    let clients = if traffic.has_wrk() {
        "the strict client and wrk"
    } else {
        "the strict client (wrk is not installed)"
    };
    story
        .screen
        .say(&format!("Load: {clients}, {} connections each", args.connections));
    story.traffic = Some(traffic);
    story.steady(&format!("Under load: {}", args.from)).await?;

    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "nginx", "image": args.to}]}}}});
    story
        .deployments
        .patch(NAME, &PatchParams::default(), &Patch::Strategic(image))
        .await?;
    story
        .screen
        .say(&format!("kubectl set image deployment/{NAME} nginx={}", args.to));
    let update = story.roll(&format!("Rolling update to {}", args.to)).await?;
    story.steady(&format!("Under load: {}", args.to)).await?;

    let undone = undo(client, &story.deployments, NAME, None).await?;
    story
        .screen
        .say(&format!("kubectl rollout undo deployment/{NAME}: {undone}"));
    let back = story.roll(&format!("Rolling back to {}", args.from)).await?;
    story.steady(&format!("Under load: {}", args.from)).await?;

    let Some(traffic) = story.traffic.take() else {
        bail!("there was no traffic")
    };
    let rollouts = vec![
        Rollout {
            name: format!("Rolling update to {}", args.to),
            took: update,
        },
        Rollout {
            name: format!("Rolling back to {}", args.from),
            took: back,
        },
    ];
    Ok(Outcome {
        tally: traffic.finish().await?,
        rollouts,
        versions: [args.from.clone(), args.to.clone()],
    })
}

/// The walkthrough's Deployment with the number of pods and the image asked for.
fn deployment(args: &DemoArgs) -> anyhow::Result<Deployment> {
    let mut deployment: Deployment = serde_yaml::from_str(MANIFEST)?;
    if let Some(spec) = &mut deployment.spec {
        spec.replicas = Some(args.replicas.into());
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
}

impl Story<'_> {
    /// Shows a rollout until it is complete and the old pods are gone; returns how long it took to be complete.
    async fn roll(&mut self, step: &str) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let old = Pods::fetch(self.client, SELECTOR).await?.hashes();
        let old = if self.traffic.is_none() {
            BTreeSet::new()
        } else {
            old
        };
        let mut took = None;
        loop {
            let pods = self.look(step, start, &old).await?;
            match progress(&self.deployments.get(NAME).await?) {
                Progress::Failed(reason) => bail!(reason),
                Progress::Complete(_) if took.is_none() => took = Some(start.elapsed()),
                _ => {}
            }
            if let Some(took) = took
                && !pods.has_any_of(&old)
            {
                return Ok(took);
            }
            sleep(TICK).await;
        }
    }

    /// Shows the traffic for a while.
    async fn steady(&mut self, step: &str) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < STEADY {
            self.look(step, start, &BTreeSet::new()).await?;
            sleep(TICK).await;
        }
        Ok(())
    }

    /// Looks at the cluster and shows what is there.
    async fn look(&mut self, step: &str, start: Instant, old: &BTreeSet<String>) -> anyhow::Result<Pods> {
        let pods = Pods::fetch(self.client, SELECTOR).await?;
        self.screen.show(&Scene {
            step: step.to_owned(),
            elapsed: start.elapsed(),
            done: pods.new_ready(old),
            total: self.args.replicas.into(),
            pods: pods.clone(),
            old: old.clone(),
            flow: self.traffic.as_ref().map(Traffic::flow),
        });
        Ok(pods)
    }
}
