// What must not fit, so that a check which takes anything does not pass.
import type { Board } from './board';

type Panel = Extract<Board['panels'][number], { type: 'stat' }>;
const fits: Panel = { type: 'stat', pluginVersion: '10.0.0', options: {}, fieldConfig: { defaults: {}, overrides: [] } };

// @ts-expect-error: there is no such option of a stat
export const option: Panel = { ...fits, options: { showLegend: true } };
// @ts-expect-error: a text where one of some words belongs
export const word: Panel = { ...fits, options: { colorMode: 'rainbow' } };
// @ts-expect-error: a number where a text belongs
export const unit: Panel = { ...fits, fieldConfig: { defaults: { unit: 5 }, overrides: [] } };
// @ts-expect-error: there is no such field of a panel
export const field: Panel = { ...fits, titel: 'Sockets' };
// @ts-expect-error: no such kind of panel
export const kind: Board['panels'][number] = { ...fits, type: 'graph' };
// @ts-expect-error: a query without an expression
export const query: Panel = { ...fits, targets: [{ refId: 'A' }] };
