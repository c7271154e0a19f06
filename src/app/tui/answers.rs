//! Answers to what is asked of captures that were read to their end. All of it is known; only frames have to be read once more.

use anyhow::{Context, bail};
use tickscope_model::{LinkType, TapId};

use crate::app::config::Settings;
use crate::app::open;
use crate::capture::stamp::Lead;
use crate::live::Rows;
use crate::live::pcapng::{self, Packet};
use crate::pipeline::correlator::Correlator;
use crate::stats::{Asked, Kept, Snapshot, Summary};
use crate::write::{
    Packets, Question, candidates_answer, error_answer, groups_answer, no_row, packets_answer, rows_answer,
    session_answer,
};

/// What is known.
pub(super) struct Answers {
    pub settings: Settings,
    /// What captures are opened with.
    pub leads: Vec<(String, Vec<Lead>)>,
    pub taps: Vec<String>,
    pub rows: Rows,
    /// The report.
    pub summary: Summary,
    pub correlator: Correlator,
    /// The same as a snapshot, and its line.
    pub snapshot: Snapshot,
    pub line: Vec<u8>,
}

impl Answers {
    pub(super) fn answer(&mut self, question: Result<Question, String>) -> Vec<u8> {
        match question {
            Err(error) => error_answer(None, &error),
            Ok(Question::Snapshot | Question::Stream) => self.line.clone(),
            Ok(Question::Order { session, clordid }) => self.order(session.as_deref(), &clordid),
            Ok(Question::Packets { session, clordid }) => self.packets(session.as_deref(), &clordid),
            Ok(Question::Session { session }) => session_answer(&session, &self.snapshot),
            Ok(Question::Rows { after, most }) => rows_answer(&self.rows.after(after, most), &self.taps),
            Ok(Question::Groups { by }) => {
                self.snapshot.groups = vec![Asked::of(by, &self.summary, &self.summary)];
                groups_answer(by, &self.snapshot).unwrap_or_else(|| error_answer(Some("groups"), "there are no groups"))
            }
        }
    }

    fn order(&mut self, session: Option<&str>, clordid: &str) -> Vec<u8> {
        let found = self.rows.find(session, clordid).map(|kept| kept.row.clone());
        let found = found.map(|row| {
            let candidates = row.case.as_ref().map(|case| self.correlator.candidates(case)).unwrap_or_default();
            Kept { row, candidates }
        });
        candidates_answer(found.as_ref(), &self.taps, self.rows.kept())
    }

    fn packets(&self, session: Option<&str>, clordid: &str) -> Vec<u8> {
        let Some(Kept { row, .. }) = self.rows.find(session, clordid) else {
            let (rows, _, aged_out) = self.rows.kept();
            return error_answer(Some("packets"), &no_row(rows, aged_out));
        };
        match self.read(&row.frames()) {
            Ok(packets) => packets_answer((&row.session, &row.clordid), &packets, &self.taps),
            Err(error) => error_answer(Some("packets"), &format!("{error:#}")),
        }
    }

    /// Reads the captures until all of these frames have come.
    fn read(&self, wanted: &[(TapId, u64)]) -> anyhow::Result<Packets> {
        if let Some(capture) = self.settings.captures.iter().find(|capture| !capture.input.is_readable_twice()) {
            bail!("{} cannot be read again, so there are no frames; give a file", capture.input);
        }
        let mut captures = open::open_all(&self.settings, &self.leads).context("reading the frames")?;
        let links: Vec<LinkType> = captures.taps().iter().map(|tap| tap.link).collect();
        let mut missing = wanted.to_vec();
        let mut file = Vec::new();
        pcapng::section(&mut file, "frames of a request");
        for (at, name) in self.taps.iter().enumerate() {
            // What a card's own records held is an Ethernet frame.
            let link = match links.get(at) {
                Some(LinkType::Other(_)) | None => LinkType::Ethernet,
                Some(link) => *link,
            };
            pcapng::interface(&mut file, link, name, "");
        }
        while let Some(captured) = captures.next().filter(|_| !missing.is_empty()) {
            let frame = &captured.frame;
            let Some(at) = missing.iter().position(|known| *known == (frame.tap, frame.number)) else { continue };
            missing.remove(at);
            let name = self.taps.get(usize::from(frame.tap.0)).map_or("", String::as_str);
            let packet = Packet {
                interface: frame.tap.0,
                time: frame.time,
                wire_len: frame.wire_len,
                is_sent: None,
                bytes: frame.bytes,
            };
            pcapng::packet(&mut file, &packet, &format!("frame {} of {name}", frame.number));
        }
        let oldest = self.summary.span().map(|(first, _)| first);
        Ok(Packets { pcapng: file, found: wanted.len() - missing.len(), missing, oldest })
    }
}
