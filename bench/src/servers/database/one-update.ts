// The floor of what needs the database: the bare driver, one prepared statement per operation.
import { serve } from '../support/serve.js';
import { driverServer } from './driver-server.js';
import { openDataSource } from './data-source.js';

serve(driverServer('one UPDATE', openDataSource));
