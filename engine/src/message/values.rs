//! Which messages carry values beside their body, and where these belong.

use super::*;

/// A message without values.
macro_rules! bare {
    ($($message:ty),+) => {
        $(impl Message for $message {
            fn detach(&mut self) -> Vec<Value> {
                Vec::new()
            }

            fn attach(&mut self, values: Vec<Value>) -> Result<(), AttachError> {
                expect(0, &values)
            }
        })+
    };
}

bare!(Hello, Greeting, FromPeer);

impl Message for FromClient {
    fn detach(&mut self) -> Vec<Value> {
        match self {
            Self::Submit { graph, .. } => std::mem::take(&mut graph.constants),
            Self::Release { .. }
            | Self::Cancel { .. }
            | Self::Locate { .. }
            | Self::Heartbeat
            | Self::Goodbye
            | Self::Subscribe { .. }
            | Self::EventsSeen { .. } => Vec::new(),
            Self::Ask { request, .. } => request.detach(),
            Self::Coordinate { value, .. } => value.take().into_iter().collect(),
        }
    }

    /// A submission takes any number of constants; `Graph::check` compares them with what its arguments name.
    fn attach(&mut self, values: Vec<Value>) -> Result<(), AttachError> {
        match self {
            Self::Submit { graph, .. } => {
                graph.constants = values;
                Ok(())
            }
            Self::Release { .. }
            | Self::Cancel { .. }
            | Self::Locate { .. }
            | Self::Heartbeat
            | Self::Goodbye
            | Self::Subscribe { .. }
            | Self::EventsSeen { .. } => expect(0, &values),
            Self::Ask { request, .. } => request.attach(values),
            Self::Coordinate { value, has_value, .. } => attach_one(value, *has_value, values),
        }
    }
}

impl Message for ToClient {
    fn detach(&mut self) -> Vec<Value> {
        match self {
            Self::Finished { value, .. } | Self::Coordinated { value, .. } => value.take().into_iter().collect(),
            Self::Failed { .. }
            | Self::Workers { .. }
            | Self::Waiting { .. }
            | Self::Heartbeat
            | Self::Received { .. }
            | Self::Events { .. } => Vec::new(),
            Self::Reply { reply, .. } => reply.detach(),
        }
    }

    fn attach(&mut self, values: Vec<Value>) -> Result<(), AttachError> {
        match self {
            Self::Finished { value, has_value, .. } | Self::Coordinated { value, has_value, .. } => {
                attach_one(value, *has_value, values)
            }
            Self::Failed { .. }
            | Self::Workers { .. }
            | Self::Waiting { .. }
            | Self::Heartbeat
            | Self::Received { .. }
            | Self::Events { .. } => expect(0, &values),
            Self::Reply { reply, .. } => reply.attach(values),
        }
    }
}

impl Message for ToWorker {
    fn detach(&mut self) -> Vec<Value> {
        match self {
            Self::Compute(compute) => std::mem::take(&mut compute.constants),
            Self::Located { .. }
            | Self::Drop { .. }
            | Self::Cancel { .. }
            | Self::Shutdown
            | Self::Heartbeat
            | Self::Acquire { .. }
            | Self::Record { .. }
            | Self::AwaitEnd { .. } => Vec::new(),
        }
    }

    fn attach(&mut self, values: Vec<Value>) -> Result<(), AttachError> {
        match self {
            Self::Compute(compute) => {
                expect(compute.n_constants as usize, &values)?;
                compute.constants = values;
                Ok(())
            }
            Self::Located { .. }
            | Self::Drop { .. }
            | Self::Cancel { .. }
            | Self::Shutdown
            | Self::Heartbeat
            | Self::Acquire { .. }
            | Self::Record { .. }
            | Self::AwaitEnd { .. } => expect(0, &values),
        }
    }
}

impl Message for FromWorker {
    fn detach(&mut self) -> Vec<Value> {
        match self {
            Self::Finished { value, .. } => value.take().into_iter().collect(),
            Self::Started { .. }
            | Self::Failed { .. }
            | Self::Holds { .. }
            | Self::Missing { .. }
            | Self::Heartbeat
            | Self::Seceded { .. }
            | Self::Rejoined { .. }
            | Self::Announce { .. }
            | Self::Memory { .. }
            | Self::NotKept { .. }
            | Self::Seeks { .. }
            | Self::Recording { .. }
            | Self::Spans { .. }
            | Self::Ended { .. } => Vec::new(),
        }
    }

    fn attach(&mut self, values: Vec<Value>) -> Result<(), AttachError> {
        match self {
            Self::Finished { value, has_value, .. } => attach_one(value, *has_value, values),
            Self::Started { .. }
            | Self::Failed { .. }
            | Self::Holds { .. }
            | Self::Missing { .. }
            | Self::Heartbeat
            | Self::Seceded { .. }
            | Self::Rejoined { .. }
            | Self::Announce { .. }
            | Self::Memory { .. }
            | Self::NotKept { .. }
            | Self::Seeks { .. }
            | Self::Recording { .. }
            | Self::Spans { .. }
            | Self::Ended { .. } => expect(0, &values),
        }
    }
}

impl Message for ToPeer {
    fn detach(&mut self) -> Vec<Value> {
        match self {
            Self::Got { value, .. } => value.take().into_iter().collect(),
            Self::Missing { .. } | Self::Busy { .. } => Vec::new(),
        }
    }

    fn attach(&mut self, values: Vec<Value>) -> Result<(), AttachError> {
        match self {
            Self::Got { value, .. } => attach_one(value, true, values),
            Self::Missing { .. } | Self::Busy { .. } => expect(0, &values),
        }
    }
}

/// Puts back the one value there may be.
pub(crate) fn attach_one(place: &mut Option<Value>, is_there: bool, values: Vec<Value>) -> Result<(), AttachError> {
    expect(usize::from(is_there), &values)?;
    *place = values.into_iter().next();
    Ok(())
}

pub(crate) fn expect(expected: usize, values: &[Value]) -> Result<(), AttachError> {
    if values.len() == expected { Ok(()) } else { Err(AttachError { expected, found: values.len() }) }
}
