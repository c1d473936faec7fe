//! The panes that this process has put together, so that a merge reads only
//! the pieces that it has not seen.

use freshet_tables::PieceName;
use freshet_windows::{Pane, Piece, Slot, Summary, Table, Windowing};
use std::collections::{BTreeSet, HashMap};

/// Summaries by aggregator and pane, and of which pieces they are.
#[derive(Debug, Default)]
pub struct Panes {
    by_pane: HashMap<i64, PaneState>,
}

#[derive(Debug, Default)]
struct PaneState {
    pieces: BTreeSet<PieceName>,
    by_aggregator: HashMap<String, Counted>,
}

/// What one aggregator has in a pane.
#[derive(Debug, Default)]
struct Counted {
    /// The pieces that have something for it.
    pieces: BTreeSet<PieceName>,
    summary: Summary,
}

impl Panes {
    /// Forgets panes that hold a piece which is not wanted any more (a chain
    /// was repeated with other pieces), and those before `oldest`.
    pub fn retain(&mut self, wanted: &HashMap<i64, BTreeSet<PieceName>>, oldest: Pane) {
        self.by_pane.retain(|pane, state| {
            *pane >= oldest.0
                && wanted
                    .get(pane)
                    .is_none_or(|wanted| state.pieces.is_subset(wanted))
        });
    }

    /// Which of these pieces of a pane it has not seen.
    #[must_use]
    pub fn unseen(&self, pane: i64, wanted: &BTreeSet<PieceName>) -> Vec<PieceName> {
        let seen = self.by_pane.get(&pane).map(|state| &state.pieces);
        let unseen = wanted
            .iter()
            .filter(|name| seen.is_none_or(|seen| !seen.contains(name)));
        unseen.copied().collect()
    }

    /// Adds pieces to the panes that they are about.
    pub fn add(&mut self, pieces: Vec<(PieceName, Piece)>, budget_bytes: usize) {
        let mut new: HashMap<(i64, String), (Vec<PieceName>, Vec<Table>)> = HashMap::new();
        for (name, piece) in pieces {
            // Of a pane that has seen the piece, nothing is new.
            let unseen: Vec<i64> = piece
                .panes()
                .into_iter()
                .map(|pane| pane.0)
                .filter(|pane| self.by_pane.entry(*pane).or_default().pieces.insert(name))
                .collect();
            for (aggregator, pane, table) in piece.tables {
                if unseen.contains(&pane.0) {
                    let (pieces, tables) = new.entry((pane.0, aggregator)).or_default();
                    pieces.push(name);
                    tables.push(table);
                }
            }
        }
        for ((pane, aggregator), (pieces, tables)) in new {
            let state = self.by_pane.entry(pane).or_default();
            let counted = state.by_aggregator.entry(aggregator).or_default();
            counted.pieces.extend(pieces);
            counted.summary.unite(&tables, budget_bytes);
        }
    }

    /// The summaries of a slot's panes.
    pub fn of_slot(&self, aggregator: &str, slot: Slot, windowing: &Windowing) -> Vec<&Summary> {
        let counted = self.counted(aggregator, slot, windowing).into_iter();
        counted.map(|counted| &counted.summary).collect()
    }

    /// Names all that goes into an aggregator's result of a slot: the pieces
    /// that have something for it, put together (names are hashes; their
    /// exclusive or depends on no order). An aggregator that counts little is
    /// so written as seldom.
    pub fn inputs(&self, aggregator: &str, slot: Slot, windowing: &Windowing) -> String {
        let names: BTreeSet<&PieceName> = self
            .counted(aggregator, slot, windowing)
            .into_iter()
            .flat_map(|counted| &counted.pieces)
            .collect();
        let combined = names.iter().fold([0_u8; 16], |mut combined, name| {
            for (byte, other) in combined.iter_mut().zip(name.as_bytes()) {
                *byte ^= other;
            }
            combined
        });
        format!("{}-{}", names.len(), PieceName::from(combined))
    }

    fn counted(&self, aggregator: &str, slot: Slot, windowing: &Windowing) -> Vec<&Counted> {
        windowing
            .panes(slot)
            .filter_map(|pane| self.by_pane.get(&pane)?.by_aggregator.get(aggregator))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use freshet_tables::PieceName;

    fn name(n: u8) -> PieceName {
        PieceName::from([n; 16])
    }

    fn of(names: &[u8]) -> HashMap<i64, BTreeSet<PieceName>> {
        HashMap::from([(7, names.iter().map(|n| name(*n)).collect())])
    }

    fn piece() -> Piece {
        Piece {
            tables: vec![("page_view".to_owned(), Pane(7), Table::default())],
        }
    }

    #[test]
    fn a_pane_is_forgotten_with_a_piece_that_is_not_wanted() {
        let mut panes = Panes::default();
        panes.add(vec![(name(1), piece()), (name(2), piece())], 1_000);
        let wanted = of(&[1, 2, 3]);
        panes.retain(&wanted, Pane(0));
        assert_eq!(panes.unseen(7, &wanted[&7]), [name(3)]);
        let wanted = of(&[1, 3]);
        panes.retain(&wanted, Pane(0));
        assert_eq!(panes.unseen(7, &wanted[&7]), [name(1), name(3)]);
    }

    #[test]
    fn inputs_are_the_pieces_that_have_something_for_the_aggregator() {
        let windowing = Windowing::default();
        let slot = Slot(*windowing.slots(Pane(7)).start());
        let other = |pane| Piece {
            tables: vec![("probe".to_owned(), Pane(pane), Table::default())],
        };
        let mut panes = Panes::default();
        let of = |panes: &Panes, aggregator| panes.inputs(aggregator, slot, &windowing);
        let nothing = of(&panes, "page_view");
        panes.add(vec![(name(1), piece())], 1_000);
        let first = of(&panes, "page_view");
        assert_ne!(first, nothing);
        assert_eq!(of(&panes, "probe"), nothing);
        // Nothing for it, and something in a pane of no such slot.
        panes.add(vec![(name(2), other(7)), (name(3), other(700))], 1_000);
        assert_eq!(of(&panes, "page_view"), first);
        let probe = of(&panes, "probe");
        assert_ne!(probe, nothing);
        // The same pieces in another order, and again.
        let mut again = Panes::default();
        again.add(vec![(name(2), other(7)), (name(1), piece())], 1_000);
        again.add(vec![(name(1), piece())], 1_000);
        assert_eq!(of(&again, "page_view"), first);
        assert_eq!(of(&again, "probe"), probe);
        panes.add(vec![(name(4), piece())], 1_000);
        assert_ne!(of(&panes, "page_view"), first);
    }

    #[test]
    fn old_panes_are_forgotten() {
        let mut panes = Panes::default();
        panes.add(vec![(name(1), piece())], 1_000);
        panes.retain(&HashMap::new(), Pane(8));
        assert_eq!(panes.unseen(7, &of(&[1])[&7]), [name(1)]);
    }
}
