//! Which messages carry values beside their body, and where these belong.

use super::*;

/// Where in a message its values belong.
pub(crate) enum Carried<'a> {
    Nothing,
    /// One, where it is there, which the body has to say: a value cannot be seen in it.
    One {
        value: &'a mut Option<Value>,
        is_there: bool,
    },
    /// Any number, which whoever uses them compares with what names them.
    All(&'a mut Vec<Value>),
    /// So many, mostly one.
    Few {
        values: &'a mut Constants,
        n: usize,
    },
}

impl Carried<'_> {
    fn take(self) -> Vec<Value> {
        match self {
            Self::Nothing => Vec::new(),
            Self::One { value, .. } => value.take().into_iter().collect(),
            Self::All(values) => std::mem::take(values),
            Self::Few { values, .. } => std::mem::take(values).into_vec(),
        }
    }

    fn give(self, came: Vec<Value>) -> Result<(), AttachError> {
        let found = came.len();
        let expected = match &self {
            Self::Nothing => 0,
            Self::One { is_there, .. } => usize::from(*is_there),
            Self::All(_) => found,
            Self::Few { n, .. } => *n,
        };
        if found != expected {
            return Err(AttachError { expected, found });
        }
        match self {
            Self::Nothing => {}
            Self::One { value, .. } => *value = came.into_iter().next(),
            Self::All(values) => *values = came,
            Self::Few { values, .. } => *values = came.into(),
        }
        Ok(())
    }
}

/// Messages whose values are where `$carried` says.
macro_rules! carry {
    ($($message:ty: |$it:ident| $carried:expr;)+) => {
        $(impl Message for $message {
            fn detach(&mut self) -> Vec<Value> {
                let $it = self;
                $carried.take()
            }

            fn attach(&mut self, values: Vec<Value>) -> Result<(), AttachError> {
                let $it = self;
                $carried.give(values)
            }
        })+
    };
}

carry! {
    Hello: |_it| Carried::Nothing;
    Greeting: |_it| Carried::Nothing;
    FromPeer: |_it| Carried::Nothing;
    FromClient: |it| match it {
        // `Graph::check` compares them with what its arguments name.
        FromClient::Submit { graph, .. } => Carried::All(&mut graph.constants),
        FromClient::Ask { request, .. } => request.carried(),
        FromClient::Coordinate { value, has_value, .. } => Carried::One { value, is_there: *has_value },
        FromClient::Release { .. }
        | FromClient::Cancel { .. }
        | FromClient::Locate { .. }
        | FromClient::Heartbeat
        | FromClient::Goodbye
        | FromClient::Subscribe { .. }
        | FromClient::EventsSeen { .. } => Carried::Nothing,
    };
    ToClient: |it| match it {
        ToClient::Finished { value, has_value, .. } | ToClient::Coordinated { value, has_value, .. } => {
            Carried::One { value, is_there: *has_value }
        }
        ToClient::Reply { reply, .. } => reply.carried(),
        ToClient::Failed { .. }
        | ToClient::Workers { .. }
        | ToClient::Waiting { .. }
        | ToClient::Heartbeat
        | ToClient::Received { .. }
        | ToClient::Events { .. } => Carried::Nothing,
    };
    ToWorker: |it| match it {
        ToWorker::Compute(Compute { constants, n_constants, .. }) => {
            Carried::Few { values: constants, n: *n_constants as usize }
        }
        ToWorker::Located { .. }
        | ToWorker::Drop { .. }
        | ToWorker::Cancel { .. }
        | ToWorker::Shutdown
        | ToWorker::Heartbeat
        | ToWorker::Acquire { .. }
        | ToWorker::Record { .. }
        | ToWorker::AwaitEnd { .. } => Carried::Nothing,
    };
    FromWorker: |it| match it {
        FromWorker::Finished { value, has_value, .. } => Carried::One { value, is_there: *has_value },
        FromWorker::Started { .. }
        | FromWorker::Failed { .. }
        | FromWorker::Holds { .. }
        | FromWorker::Missing { .. }
        | FromWorker::Heartbeat
        | FromWorker::Seceded { .. }
        | FromWorker::Rejoined { .. }
        | FromWorker::Announce { .. }
        | FromWorker::Memory { .. }
        | FromWorker::NotKept { .. }
        | FromWorker::Seeks { .. }
        | FromWorker::Recording { .. }
        | FromWorker::Spans { .. }
        | FromWorker::Ended { .. } => Carried::Nothing,
    };
    ToPeer: |it| match it {
        ToPeer::Got { value, .. } => Carried::One { value, is_there: true },
        ToPeer::Missing { .. } | ToPeer::Busy { .. } => Carried::Nothing,
    };
}
