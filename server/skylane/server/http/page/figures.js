// Figures of two instants → what happened between them. Knows no document.

const sum = list => list.reduce((total, each) => total + each, 0);

/** Requests that ended so, of a list of outcomes. */
export function requests(outcomes, which = () => true) {
  return sum(outcomes.filter(which).map(each => each.requests));
}

const OTHERS = new Set(["grpc", "http"]); // protocols of what asks for no prediction: health, metadata, metrics, pages

/** Predictions that no model was asked for, since they were refused before: as a version without a name. */
export function refused(figures) {
  const none = { buckets: [], total: 0 };
  const outcomes = figures.rejections.filter(each => !OTHERS.has(each.protocol));
  return { model: "", version: 0, outcomes, hits: 0, misses: 0, coalesced: 0, queue_rows: 0, cache_bytes: 0, total: none, batch_rows: none };
}

/** All predictions, wherever they ended. */
export const everything = figures => [refused(figures), ...figures.versions];

/** A histogram's growth; all of it where there was none before, or fewer, as after a restart. */
function grown(now, before) {
  const fell = !before || now.buckets.some((count, place) => count < (before.buckets[place] || 0));
  if (fell) return now;
  return { buckets: now.buckets.map((count, place) => count - (before.buckets[place] || 0)), total: now.total - before.total };
}

/** A percentile as Prometheus estimates it: linear within its bucket. null where nothing was counted. */
export function percentile(histogram, bounds, share) {
  const wanted = sum(histogram.buckets) * share;
  let below = 0;
  for (const [place, count] of histogram.buckets.entries()) {
    if (count && below + count >= wanted) {
      if (place >= bounds.length) return bounds[bounds.length - 1];
      const from = place ? bounds[place - 1] : 0;
      return from + (bounds[place] - from) * (wanted - below) / count;
    }
    below += count;
  }
  return null;
}

const FAULTS = new Set(["ModelFailed", "INTERNAL"]);

const growth = (now, before) => Math.max(0, now - (before > now ? 0 : before || 0));

/** What happened to one version, or to several added up, between two instants. */
export function between(versions, before, seconds, bounds) {
  const known = new Map(before.map(each => [each.model + "/" + each.version, each]));
  const all = { requests: 0, errors: 0, faults: 0, hits: 0, misses: 0, followed: 0, waiting: 0, cacheBytes: 0 };
  const total = { buckets: new Array(bounds.length + 1).fill(0), total: 0 };
  let rows = 0, batches = 0;
  for (const version of versions) {
    const then = known.get(version.model + "/" + version.version);
    const more = which => growth(requests(version.outcomes, which), then ? requests(then.outcomes, which) : 0);
    all.requests += more(() => true);
    all.errors += more(each => each.error);
    all.faults += more(each => FAULTS.has(each.error));
    all.hits += growth(version.hits, then?.hits);
    all.misses += growth(version.misses, then?.misses);
    all.followed += growth(version.coalesced, then?.coalesced);
    all.waiting += version.queue_rows;
    all.cacheBytes += version.cache_bytes;
    const taken = grown(version.total, then?.total), sizes = grown(version.batch_rows, then?.batch_rows);
    taken.buckets.forEach((count, place) => { total.buckets[place] += count; });
    rows += sizes.total;
    batches += sum(sizes.buckets);
  }
  return {
    ...all,
    rate: all.requests / seconds,
    p50: percentile(total, bounds, .5),
    p99: percentile(total, bounds, .99),
    batchRows: batches ? rows / batches : null,
    // Where there is no cache, 0 % would say that it is of no use.
    saved: all.requests && all.hits + all.followed + all.misses ? (all.hits + all.followed) / all.requests : null,
  };
}

// --- As people read them -----------------------------------------------------------------------------------------

const short = value => value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);

export function count(value) {
  if (value === null) return "–";
  if (value >= 1e6) return short(value / 1e6) + " M";
  if (value >= 1e4) return short(value / 1e3) + " k";
  return Number.isInteger(value) ? String(value) : short(value);
}

export function time(seconds) {
  if (seconds === null) return "–";
  if (seconds < 1e-3) return short(seconds * 1e6) + " µs";
  return seconds < 1 ? short(seconds * 1e3) + " ms" : short(seconds) + " s";
}

export function bytes(value) {
  if (value < 1024) return value + " B";
  return value < 2 ** 20 ? short(value / 1024) + " KiB" : value < 2 ** 30 ? short(value / 2 ** 20) + " MiB" : short(value / 2 ** 30) + " GiB";
}

export function share(value) {
  return value === null ? "–" : (value * 100).toFixed(value && value < .1 ? 1 : 0) + " %";
}

export function age(seconds) {
  const [days, hours, minutes] = [seconds / 86400, seconds / 3600, seconds / 60].map(Math.floor);
  return days ? `${days} d ${hours % 24} h` : hours ? `${hours} h ${minutes % 60} min` : minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}
