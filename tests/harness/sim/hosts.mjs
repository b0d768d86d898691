// SPDX-License-Identifier: Apache-2.0
// sim/hosts.mjs DIR - prints the host names the exchanges of a folder speak to.
import { hostsOf, loadExchanges } from './exchanges.mjs';

for (const h of hostsOf(loadExchanges(process.argv[2]))) console.log(h);
