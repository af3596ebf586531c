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
            | Self::Ask { .. } => Vec::new(),
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
            | Self::Ask { .. } => expect(0, &values),
            Self::Coordinate { value, has_value, .. } => {
                expect(usize::from(*has_value), &values)?;
                *value = values.into_iter().next();
                Ok(())
            }
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
            | Self::Reply { .. } => Vec::new(),
        }
    }

    fn attach(&mut self, values: Vec<Value>) -> Result<(), AttachError> {
        match self {
            Self::Finished { value, has_value, .. } | Self::Coordinated { value, has_value, .. } => {
                expect(usize::from(*has_value), &values)?;
                *value = values.into_iter().next();
                Ok(())
            }
            Self::Failed { .. }
            | Self::Workers { .. }
            | Self::Waiting { .. }
            | Self::Heartbeat
            | Self::Received { .. }
            | Self::Reply { .. } => expect(0, &values),
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
            | Self::Ended { .. } => Vec::new(),
        }
    }

    fn attach(&mut self, values: Vec<Value>) -> Result<(), AttachError> {
        match self {
            Self::Finished { value, has_value, .. } => {
                expect(usize::from(*has_value), &values)?;
                *value = values.into_iter().next();
                Ok(())
            }
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
            Self::Got { value, .. } => {
                expect(1, &values)?;
                *value = values.into_iter().next();
                Ok(())
            }
            Self::Missing { .. } | Self::Busy { .. } => expect(0, &values),
        }
    }
}

fn expect(expected: usize, values: &[Value]) -> Result<(), AttachError> {
    if values.len() == expected { Ok(()) } else { Err(AttachError { expected, found: values.len() }) }
}
