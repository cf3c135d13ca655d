//! Pages of histories that are kept by the relay, for queries from outside.

use alloc::vec::Vec;

use crate::hub::Hub;
use crate::relay::TopicPage;
use crate::room::{HistoryPage, Position};

impl Hub {
    /// The position of a room and a page of its history, read from a page of its topic. There is no
    /// page when the room keeps no history. Foreign messages are left out.
    ///
    /// Work: the messages.
    pub fn relayed_page(
        &self,
        room: &str,
        page: &TopicPage,
    ) -> (Position<'static>, Option<HistoryPage>) {
        let keeps = self.keeps(room);
        let position = Position {
            epoch: page.position.epoch.clone().into_string().into(),
            offset: if keeps { page.position.offset } else { 0 },
        };
        if !keeps {
            return (position, None);
        }
        let frames = page.messages.iter().filter_map(|message| {
            let kept = (message.offset, &*message.body);
            self.kept_frame(room, kept, None).ok().flatten()
        });
        let messages: Vec<_> = frames
            .flat_map(|frame| serde_json::from_str(&frame))
            .collect();
        let history = HistoryPage {
            epoch: position.epoch.clone().into_owned(),
            offset: position.offset,
            messages,
            first: page.first,
        };
        (position, Some(history))
    }
}
