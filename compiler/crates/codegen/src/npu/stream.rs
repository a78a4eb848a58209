//! Orders commands in the stream: each after those that it waits for; transfers are hoisted as early as
//! buffer space allows.

use secateur_runtime::npu::stream::Queue;

use super::emit::PlannedCommand;

/// LOAD commands that may be in the stream before EXEC needs them: the fetcher must not wait for
/// a full LOAD queue while EXEC's runs empty.
const AHEAD: usize = 12;

/// Brings commands into the order of the stream; queues keep theirs.
pub(crate) fn order(commands: Vec<PlannedCommand>) -> Vec<PlannedCommand> {
    let mut queues: [std::collections::VecDeque<PlannedCommand>; 3] = Default::default();
    let total = commands.len();
    for command in commands {
        queues[command.queue as usize].push_back(command);
    }
    let mut stream: Vec<PlannedCommand> = Vec::with_capacity(total);
    let mut placed = [0u32; 3];
    // LOAD commands that the EXEC commands placed so far need.
    let mut needed = 0;
    while stream.len() < total {
        let ready =
            |queue: Queue, queues: &[std::collections::VecDeque<PlannedCommand>; 3], placed: &[u32; 3]| {
                queues[queue as usize].front().is_some_and(|command| {
                    command.waits.iter().zip(placed).all(|(wait, placed)| wait <= placed)
                })
            };
        let next_needs = queues[Queue::Exec as usize].front().map_or(u32::MAX, |command| command.waits[0]);
        let ahead = placed[0].saturating_sub(needed) as usize;
        let load_is_due = placed[0] < next_needs || ahead < AHEAD;
        let queue = if ready(Queue::Store, &queues, &placed) {
            Queue::Store
        } else if load_is_due && ready(Queue::Load, &queues, &placed) {
            Queue::Load
        } else if ready(Queue::Exec, &queues, &placed) {
            Queue::Exec
        } else {
            Queue::Load
        };
        let Some(command) = queues[queue as usize].pop_front() else { break };
        placed[queue as usize] += 1;
        if queue == Queue::Exec {
            needed = needed.max(command.waits[0]);
        }
        stream.push(command);
    }
    stream
}
