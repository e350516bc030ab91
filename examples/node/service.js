// A service: no person signs in, the application acts as its System User.
import { discover, firstCustomers, serviceToken } from './gatehouse.js';

const issuer = process.env.GATEHOUSE_ISSUER ?? 'http://localhost:8080/id';
const config = await discover(issuer, 'my.trusted.app/service', 'service-secret');
const token = await serviceToken(config);
console.log(`Token for the scope ${token.scope}, ${token.expires_in} s`);
for (const customer of await firstCustomers(config, token.access_token)) console.log(customer['@odata.id']);
