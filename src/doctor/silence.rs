//! Monitors that should run or fire and do not. Those whose webhook was lost have a line already.

use super::{Report, Setup};
use crate::{
    clock,
    opensearch::{
        Client,
        alerting::{self, Family, Monitor},
    },
    silence::{Asked, Reason, Silent, look as silent},
};

/// What a look at the runs of all monitors shows.
pub(super) async fn look(
    report: &mut Report,
    client: &Client,
    setup: &Setup,
    monitors: &[Monitor],
) {
    let mut all = monitors.to_vec();
    match alerting::all(client, Family::Workflow).await {
        Ok(workflows) => all.extend(workflows),
        Err(fault) => return report.unread("silence", &fault),
    }
    let (days, only_ours) = (setup.silence_days, !setup.all_monitors);
    let asked = Asked { now: clock::now(), all: !only_ours, days };
    match silent(client, &all, asked, None).await {
        Ok(silent) => tell(report, silent, only_ours),
        Err(fault) => report.unread("silence", &fault),
    }
}

fn tell(report: &mut Report, mut silent: Vec<Silent>, only_ours: bool) {
    silent.retain(|one| one.reason != Reason::Failed);
    if silent.is_empty() {
        let whose = if only_ours { " and sends to us" } else { "" };
        return report.ok("silence", format!("every monitor that is enabled{whose} runs in time"));
    }
    for Silent { name, what, mend, .. } in silent {
        report.warn("silence", format!("{name:?} says nothing: {what}"), mend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_webhook_is_told_by_another_line() {
        let silent = |reason| Silent {
            id: "m".to_owned(),
            name: "Beacons".to_owned(),
            reason,
            what: "it does not run".to_owned(),
            mend: "restart it",
        };
        let mut report = Report::default();
        tell(&mut report, vec![silent(Reason::Failed)], true);
        assert!(report.to_string().starts_with("ok    silence  every monitor that is enabled and"));
        let mut report = Report::default();
        tell(&mut report, Reason::ALL.map(silent).into(), false);
        let want =
            "warn  silence  \"Beacons\" says nothing: it does not run; to mend: restart it\n";
        assert_eq!(report.to_string(), format!("{want}{want}0 FAIL, 2 warn, 0 ok.\n"));
    }
}
