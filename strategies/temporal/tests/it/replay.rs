//! Time travel: the recorded histories against the code of today, and against code that was changed.
//!
//! `make temporal PHASEGATE_GENERATE=1` records them again, which a change that breaks running workflows needs.

use std::time::Duration;

use phasegate_core::api::{Phase, Reason};
use phasegate_temporal::activities::{Activities, Apply, Record};
use phasegate_temporal::cluster::Child;
use phasegate_temporal::workflow::{End, Job, Lifecycle};
use temporalio_client::WorkflowHistory;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::workflow_replayer::{
    WorkflowReplayError, WorkflowReplayFailure, WorkflowReplayer, WorkflowReplayerOptions,
};
use temporalio_sdk::{ActivityOptions, WorkflowContext, WorkflowResult};

use crate::setup::recorded;

const HISTORIES: [&str; 2] = ["started-and-stopped.json", "missing-image.json"];

fn history(name: &str) -> WorkflowHistory {
    WorkflowHistory::from_json(&std::fs::read(recorded(name)).unwrap()).unwrap()
}

#[tokio::test]
async fn recorded_histories_replay_on_the_code_of_today() {
    let options = WorkflowReplayerOptions::new().register_workflow::<Lifecycle>().unwrap().build();
    let replayer = WorkflowReplayer::new(options).unwrap();
    for name in HISTORIES {
        replayer.replay_workflow(history(name)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn recorded_histories_refuse_code_that_creates_the_service_first() {
    let options = WorkflowReplayerOptions::new().register_workflow::<ServiceFirst>().unwrap().build();
    let replayer = WorkflowReplayer::new(options).unwrap();
    for name in HISTORIES {
        let error = replayer.replay_workflow(history(name)).await.unwrap_err();
        let WorkflowReplayError::Replay(WorkflowReplayFailure::Nondeterminism { message }) = &error else {
            panic!("{name}: {error}");
        };
        assert!(
            message.contains("'the Deployment' does not match activity id of activity command 'the Service'"),
            "{message}"
        );
    }
}

/// The workflow after a change of the order of its steps.
#[workflow]
#[derive(Default)]
struct ServiceFirst;

#[workflow_methods]
impl ServiceFirst {
    #[run(name = "Lifecycle")]
    async fn run(ctx: &mut WorkflowContext<Self>, job: Job) -> WorkflowResult<End> {
        let Job { gateway, deadline_seconds } = job;
        let step = |name: &str| {
            let mut options = ActivityOptions::start_to_close_timeout(Duration::from_secs(10));
            options.activity_id = Some(name.to_owned());
            options
        };
        let _deadline = ctx.timer(Duration::from_secs(deadline_seconds));
        let starting = Record::new(&gateway, Phase::Starting, Reason::StartRequested);
        ctx.execute_activity(Activities::record, starting, step("the record")).await?;
        let apply = Apply { gateway, child: Child::Service, deadline_seconds };
        ctx.execute_activity(Activities::apply, apply, step(Child::Service.name())).await?;
        Ok(End::Stopped)
    }
}
