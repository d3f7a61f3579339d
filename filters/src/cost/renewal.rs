//! The same books under newer settings: the ledger, what was spent and held, and what was learned stay. A call is paid for by
//! the prices that it began with.

use std::sync::Arc;

use super::Config;
use super::books::{Backend, Books, LAST_FLUSH, remember};
use crate::tenants::Names;

impl Books {
    /// What these become under such settings, each backend with its place. Nothing has changed yet: see [`Books::take_over`].
    /// It may read the ledger, and so wait for a disk.
    ///
    /// # Errors
    /// The key below `cost` that is wrong, and why.
    pub fn renewed(
        &self,
        config: &Config,
        backends: Vec<(usize, Backend)>,
        names: Names,
    ) -> Result<Arc<Self>, (String, String)> {
        let budgets = self.budgets.renewed(&config.budgets, &names)?;
        if budgets.has_fresh() {
            // What is on its way into the ledger is to be found there.
            self.ledger.flush(LAST_FLUSH);
            remember(&budgets, &self.ledger).map_err(|error| ("ledger_path".to_owned(), error.to_string()))?;
        }
        let mut placed: Vec<Option<Backend>> = Vec::new();
        for (place, backend) in backends {
            placed.resize(placed.len().max(place + 1), None);
            placed[place] = Some(backend);
        }
        let mut machines = self.machines.clone();
        machines.resize_with(machines.len().max(placed.len()), Arc::default);
        Ok(Arc::new(Books {
            prices: Arc::new(config.prices()?),
            unpriced: config.unpriced,
            ledger: self.ledger.clone(),
            budgets,
            advice: self.advice.renewed(&config.advice, names.clone()),
            tokenizers: self.tokenizers.clone(),
            zone: self.zone.clone(),
            backends: placed,
            machines,
            counting: self.counting.clone(),
            meters: self.meters.clone(),
            names,
            outputs: self.outputs.clone(),
            times: self.times.clone(),
            today: Default::default(),
        }))
    }

    /// From now on these hold.
    pub fn take_over(&self) {
        self.budgets.take_over();
        self.meters.rename(&self.names);
    }
}
