//! A client whose scheduler is gone: it looks for it, and they bring together what each has heard.

use std::{sync::Arc, time::Duration};

use phalanx_engine::{
    client::{Event, Outbox},
    id::ClientId,
    message::{FromClient, Greeting, Hello, Resume, Role, Session, ToClient},
};

use super::{
    Notice,
    shell::{Core, Shell},
};
use crate::{
    transport::{Destination, Line, Receiver, Sender},
    wire::Wire,
};

/// What it takes to be the same client again.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) scheduler: Destination,
    pub(super) hello: Hello,
    pub(super) session: Session,
    pub(super) reconnect_for: Duration,
    /// The scheduler's life, as its last greeting said.
    pub(super) life: u32,
}

impl Again {
    /// Looks for the scheduler and goes on with it, as who it was or anew. None where it does not come back.
    pub(super) async fn join(&mut self, shell: &Arc<Shell>) -> Option<Receiver<ToClient>> {
        shell.apply(|core, events| {
            core.outbox.iter_mut().for_each(Outbox::is_cut);
            events.push(Event::Cut);
        });
        let url = self.scheduler.url().to_owned();
        shell.notify(&[Notice::SchedulerGone { url: url.clone(), patience: self.reconnect_for }]);
        loop {
            let hello = Hello { role: Role::Session(self.session), ..self.hello.clone() };
            let joined = self.scheduler.join::<FromClient, ToClient>(hello, self.reconnect_for, Line::Client).await;
            let (client, cluster, resumed, life, sender, receiver) = match joined {
                Ok((Greeting::Session { client, cluster, resumed, life, .. }, sender, receiver)) => {
                    (client, cluster, resumed, life, sender, receiver)
                }
                Ok(_) => return None,
                Err(error) => {
                    tracing::error!(%error, "the scheduler is lost");
                    return None;
                }
            };
            self.session.resumes = Some(Resume { cluster, client });
            let is_another = std::mem::replace(&mut self.life, life) != life;
            let went_on = shell.apply(|core, events| {
                if is_another && resumed.is_some() {
                    events.push(Event::NamesLost);
                }
                go_on(core, events, shell, client, resumed, &sender)
            });
            if went_on {
                shell.notify(&[Notice::SchedulerBack { url, remembers: resumed.is_some() }]);
                return Some(receiver);
            }
            // It has forgotten what it had heard: it must not believe that this is the client it knew.
            let _ = sender.send(FromClient::Goodbye);
            sender.flush();
            self.session.resumes = None;
        }
    }
}

/// Says again what was not heard. False where the two cannot be brought together.
fn go_on(
    core: &mut Core,
    events: &mut Vec<Event>,
    shell: &Shell,
    client: ClientId,
    resumed: Option<u64>,
    sender: &Sender<FromClient>,
) -> bool {
    let Some(outbox) = &mut core.outbox else { return false };
    let unheard = match resumed.map(|n_messages| outbox.resume(n_messages)) {
        Some(Some(unheard)) => unheard,
        Some(None) => return false,
        None => {
            outbox.restart();
            shell.begins_anew();
            core.client = client;
            events.push(Event::Restarted { client });
            Vec::new()
        }
    };
    if resumed.is_some() {
        events.push(Event::Resumed);
    }
    for message in unheard {
        say(sender, message);
    }
    shell.speak_through(sender.clone());
    true
}

pub(super) fn say<M: Wire>(sender: &Sender<M>, message: M) {
    if let Err(error) = sender.send(message) {
        // Constants were made bytes before.
        tracing::error!(%error, "a message cannot be written");
    }
}
