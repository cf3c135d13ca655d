//! The order of the relay's answers and events.

use std::collections::VecDeque;

use roomcast_core::relay::RelayEvent;

use super::queue::Answer;

/// Pages that wait for the messages that arrived before them. If a hub got such a page first, it
/// would drop these messages as repeated, even where the page lacks them.
#[derive(Default)]
pub(super) struct Order {
    /// Events that were taken from the relay.
    taken: u64,
    /// Pages, each with the number of events that come before it.
    held: VecDeque<(u64, Answer)>,
}

impl Order {
    /// Counts an event that was taken.
    pub(super) const fn note_taken(&mut self) {
        self.taken += 1;
    }

    /// Takes answers, while `waiting` events have arrived and are not taken. Returns the answers to
    /// send.
    pub(super) fn pass(&mut self, answers: Vec<Answer>, waiting: usize) -> Vec<Answer> {
        let behind = self.taken + u64::try_from(waiting).unwrap_or(u64::MAX);
        let mut leaving = Vec::with_capacity(answers.len());
        for answer in answers {
            if is_page(&answer.event) {
                self.held.push_back((behind, answer));
            } else {
                leaving.push(answer);
            }
        }
        let is_next = |(behind, _): &mut (u64, Answer)| *behind <= self.taken;
        while let Some((_, answer)) = self.held.pop_front_if(is_next) {
            leaving.push(answer);
        }
        leaving
    }
}

const fn is_page(event: &RelayEvent) -> bool {
    matches!(
        event,
        RelayEvent::Subscribed { .. } | RelayEvent::Page { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(answers: &[Answer]) -> Vec<u64> {
        let token = |Answer { event, .. }: &Answer| {
            let (RelayEvent::Subscribed { token, .. } | RelayEvent::Failed { token }) = event
            else {
                panic!("{event:?}");
            };
            *token
        };
        answers.iter().map(token).collect()
    }

    #[test]
    fn a_page_leaves_behind_the_events_that_had_come_before_it() {
        let answer = |event| Answer {
            namespace: "n".into(),
            instance: 1,
            event,
        };
        let page = |token| {
            let pages = Vec::new();
            answer(RelayEvent::Subscribed { token, pages })
        };
        let mut order = Order::default();
        assert_eq!(tokens(&order.pass(vec![page(1)], 0)), [1]);
        let failed = answer(RelayEvent::Failed { token: 3 });
        assert_eq!(tokens(&order.pass(vec![page(2), failed], 2)), [3]);
        order.note_taken();
        assert_eq!(tokens(&order.pass(vec![page(4)], 3)), [0_u64; 0]);
        order.note_taken();
        assert_eq!(tokens(&order.pass(Vec::new(), 2)), [2]);
        order.note_taken();
        order.note_taken();
        assert_eq!(tokens(&order.pass(Vec::new(), 0)), [4]);
    }
}
